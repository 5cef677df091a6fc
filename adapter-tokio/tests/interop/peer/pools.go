package main

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/NodePassProject/pool"
)

// held is a pool of the module and what it runs on.
type held struct {
	*pool.Pool
	listener net.Listener
	dials    atomic.Int64
	accepts  atomic.Int64
	manager  func()
	// Closed when the manager has begun: it has dialled or accepted for the first time.
	begun chan struct{}
	once  sync.Once
}

func (h *held) begin() {
	h.once.Do(func() { close(h.begun) })
}

// manage starts the manager. A take that begins before it has begun fails, or panics.
func (h *held) manage() {
	go h.manager()
	<-h.begun
}

// watched tells when the manager accepts for the first time.
type watched struct {
	net.Listener
	here *held
}

func (w watched) Accept() (net.Conn, error) {
	w.here.accepts.Add(1)
	w.here.begin()
	return w.Listener.Accept()
}

// Stats is what a pool says of itself; Dials counts the calls of a client's dialer, Accepts those of
// the listener.
type Stats struct {
	Active     int64 `json:"active"`
	Capacity   int64 `json:"capacity"`
	IntervalMs int64 `json:"interval_ms"`
	Dials      int64 `json:"dials"`
	Accepts    int64 `json:"accepts"`
}

// table hands out numbers for what the test is to name.
type table[T any] struct {
	lock sync.Mutex
	last int
	all  map[int]T
}

func (t *table[T]) add(value T) int {
	t.lock.Lock()
	defer t.lock.Unlock()
	if t.all == nil {
		t.all = map[int]T{}
	}
	t.last++
	t.all[t.last] = value
	return t.last
}

func (t *table[T]) get(number int) (T, error) {
	t.lock.Lock()
	defer t.lock.Unlock()
	value, ok := t.all[number]
	if !ok {
		return value, errors.New("no such number")
	}
	return value, nil
}

func (t *table[T]) remove(number int) {
	t.lock.Lock()
	defer t.lock.Unlock()
	delete(t.all, number)
}

var pools table[*held]

func client(request Request) (Answer, error) {
	here := &held{begun: make(chan struct{})}
	dial := func() (net.Conn, error) {
		here.dials.Add(1)
		here.begin()
		if request.Odd {
			end, _ := net.Pipe()
			return end, nil
		}
		conn, err := net.DialTimeout("tcp", request.Address, 5*time.Second)
		if err == nil && request.TLS != "0" && !takes[string](pool.NewClientPool) {
			conn = tls.Client(conn, &tls.Config{
				MinVersion: tls.VersionTLS13, ServerName: request.Host,
				InsecureSkipVerify: request.TLS == "1",
			})
		}
		return conn, err
	}
	made, err := newClient(request, dial)
	if err != nil {
		return Answer{}, err
	}
	here.Pool, here.manager = made, made.ClientManager
	if !request.Late {
		here.manage()
	}
	return Answer{Pool: pools.add(here)}, nil
}

func server(request Request) (Answer, error) {
	var config *tls.Config
	if request.Certificate != "" {
		pair, err := tls.X509KeyPair([]byte(request.Certificate), []byte(request.Key))
		if err != nil {
			return Answer{}, err
		}
		config = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
	}
	listener, err := net.Listen("tcp", request.Address)
	if err != nil {
		return Answer{}, err
	}
	here := &held{listener: listener, begun: make(chan struct{})}
	var accepts net.Listener = watched{listener, here}
	if config != nil && !takes[*tls.Config](pool.NewServerPool) {
		accepts = tls.NewListener(accepts, config)
	}
	made, err := newServer(request, config, accepts)
	if err != nil {
		return Answer{}, errors.Join(err, listener.Close())
	}
	here.Pool, here.manager = made, made.ServerManager
	if !request.Late {
		here.manage()
	}
	return Answer{Pool: pools.add(here), Address: listener.Addr().String()}, nil
}

// manage starts the manager of a pool that was made without it.
func manage(request Request) (Answer, error) {
	which, err := pools.get(request.Pool)
	if err == nil {
		which.manage()
	}
	return Answer{}, err
}

// takeAny takes any connection. A release that cannot be told how long is not waited for beyond
// that.
func takeAny(request Request) (Answer, error) {
	from, err := pools.get(request.Pool)
	if err != nil {
		return Answer{}, err
	}
	timeout := time.Duration(request.Ms) * time.Millisecond
	type outcome struct {
		taken
		err error
	}
	outcomes := make(chan outcome, 1)
	go func() {
		got, err := take(from.Pool, anyNames, timeout)
		outcomes <- outcome{got, err}
	}()
	select {
	case got := <-outcomes:
		if err := errors.Join(got.err, got.taken.err); err != nil {
			return Answer{}, err
		}
		return Answer{ID: got.id, Conn: conns.add(got.conn)}, nil
	case <-time.After(timeout + 2*time.Second):
		return Answer{}, errors.New("the module does not answer")
	}
}

// takeByID takes the connection with an id. A release that answers at once is asked again until the
// time is over: a connection is at one end a little earlier than at the other.
func takeByID(request Request) (Answer, error) {
	from, err := pools.get(request.Pool)
	if err != nil {
		return Answer{}, err
	}
	timeout := time.Duration(request.Ms) * time.Millisecond
	deadline := time.Now().Add(timeout)
	for {
		got, err := take(from.Pool, byIDNames, request.ID, timeout)
		if err != nil {
			return Answer{}, err
		}
		if got.err == nil {
			return Answer{ID: request.ID, Conn: conns.add(got.conn)}, nil
		}
		if time.Now().After(deadline) {
			return Answer{}, got.err
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func put(request Request) (Answer, error) {
	into, err := pools.get(request.Pool)
	if err != nil {
		return Answer{}, err
	}
	conn, err := conns.get(request.Conn)
	if err != nil {
		return Answer{}, err
	}
	conns.remove(request.Conn)
	return Answer{}, call(into.Pool, "Put", request.ID, conn)
}

func named(name string) func(Request) (Answer, error) {
	return func(request Request) (Answer, error) {
		which, err := pools.get(request.Pool)
		if err != nil {
			return Answer{}, err
		}
		return Answer{}, call(which.Pool, name)
	}
}

var (
	clean = named("Clean")
	flush = named("Flush")
)

// closePool closes a pool, and the listener that its user owns.
func closePool(request Request) (Answer, error) {
	which, err := pools.get(request.Pool)
	if err != nil {
		return Answer{}, err
	}
	if which.listener != nil {
		err = which.listener.Close()
	}
	which.Close()
	pools.remove(request.Pool)
	return Answer{}, err
}

// closeListener closes what a server accepts on, and leaves the pool.
func closeListener(request Request) (Answer, error) {
	which, err := pools.get(request.Pool)
	if err != nil {
		return Answer{}, err
	}
	return Answer{}, which.listener.Close()
}

func (h *held) stats() Stats {
	return Stats{
		Active:     reading(h.Pool, "Active"),
		Capacity:   reading(h.Pool, "Capacity"),
		IntervalMs: reading(h.Pool, "Interval") / int64(time.Millisecond),
		Dials:      h.dials.Load(),
		Accepts:    h.accepts.Load(),
	}
}

func stats(request Request) (Answer, error) {
	which, err := pools.get(request.Pool)
	if err != nil {
		return Answer{}, err
	}
	now := which.stats()
	return Answer{Stats: &now}, nil
}
