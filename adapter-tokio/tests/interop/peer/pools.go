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

// instance is a pool of the module, with its listener, its manager and counters.
type instance struct {
	*pool.Pool
	listener net.Listener
	dials    atomic.Int64
	failures atomic.Int64
	accepts  atomic.Int64
	manager  func()
	// Closed when the manager has dialled or accepted for the first time.
	begun chan struct{}
	once  sync.Once
	trace *trace
}

func (i *instance) begin() {
	i.once.Do(func() { close(i.begun) })
}

// manage starts the manager and waits until it has begun: an earlier take fails, or panics.
func (i *instance) manage() {
	go i.manager()
	<-i.begun
}

// countingListener counts accepts, and reports the first one.
type countingListener struct {
	net.Listener
	instance *instance
}

func (l countingListener) Accept() (net.Conn, error) {
	l.instance.accepts.Add(1)
	l.instance.begin()
	return l.Listener.Accept()
}

// Stats is the state that a pool reports. Dials counts the calls of a client's dialer, Failures those of
// them that returned an error, and Accepts the calls of the listener.
type Stats struct {
	Active     int64 `json:"active"`
	Capacity   int64 `json:"capacity"`
	IntervalMs int64 `json:"interval_ms"`
	Dials      int64 `json:"dials"`
	Failures   int64 `json:"failures"`
	Accepts    int64 `json:"accepts"`
}

// table assigns numbers to values, by which the test refers to them.
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

var pools table[*instance]

func client(request Request) (Answer, error) {
	made := &instance{begun: make(chan struct{})}
	dial := func() (net.Conn, error) {
		made.dials.Add(1)
		made.begin()
		if request.Odd {
			end, _ := net.Pipe()
			return end, nil
		}
		conn, err := net.DialTimeout("tcp", request.Address, 5*time.Second)
		if err != nil {
			made.failures.Add(1)
		}
		if err == nil && request.TLS != "0" && !hasParameter[string](pool.NewClientPool) {
			conn = tls.Client(conn, &tls.Config{
				MinVersion: tls.VersionTLS13, ServerName: request.Host,
				InsecureSkipVerify: request.TLS == "1",
			})
		}
		return conn, err
	}
	client, err := newClient(request, dial)
	if err != nil {
		return Answer{}, err
	}
	made.Pool, made.manager = client, client.ClientManager
	if request.Trace {
		made.watch()
	}
	if !request.Late {
		made.manage()
	}
	return Answer{Pool: pools.add(made)}, nil
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
	made := &instance{listener: listener, begun: make(chan struct{})}
	var accepts net.Listener = countingListener{listener, made}
	if config != nil && !hasParameter[*tls.Config](pool.NewServerPool) {
		accepts = tls.NewListener(accepts, config)
	}
	server, err := newServer(request, config, accepts)
	if err != nil {
		return Answer{}, errors.Join(err, listener.Close())
	}
	made.Pool, made.manager = server, server.ServerManager
	if !request.Late {
		made.manage()
	}
	return Answer{Pool: pools.add(made), Address: listener.Addr().String()}, nil
}

// manage starts the manager of a pool that was created with Late.
func manage(request Request) (Answer, error) {
	which, err := pools.get(request.Pool)
	if err == nil {
		which.manage()
	}
	return Answer{}, err
}

// takeAny takes any connection. Some releases have no timeout, so it stops waiting for the module two
// seconds after the timeout.
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

// takeByID takes the connection with an id. Some releases do not wait, so it retries until the timeout:
// a connection is ready at one end a little earlier than at the other.
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

// closeListener closes a server's listener, and leaves the pool open.
func closeListener(request Request) (Answer, error) {
	which, err := pools.get(request.Pool)
	if err != nil {
		return Answer{}, err
	}
	return Answer{}, which.listener.Close()
}

func (i *instance) stats() Stats {
	return Stats{
		Active:     reading(i.Pool, "Active"),
		Capacity:   reading(i.Pool, "Capacity"),
		IntervalMs: reading(i.Pool, "Interval") / int64(time.Millisecond),
		Dials:      i.dials.Load(),
		Failures:   i.failures.Load(),
		Accepts:    i.accepts.Load(),
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
