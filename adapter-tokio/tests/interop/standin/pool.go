// Package pool stands in for older releases of github.com/NodePassProject/pool that cannot be
// downloaded. It has the functions and the id format (Hex8) of the oldest known release, and uses the
// same TLS library, but shares no code with it, and has neither its tuning nor its faults. With it,
// the older functions and Hex8 are tested against Go on every machine that has Go.
package pool

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

const idLength = 8

// Pool is a pool of connections by id.
type Pool struct {
	lock    sync.Mutex
	changed *sync.Cond
	ready   map[string]net.Conn
	order   []string
	closed  bool

	capacity int
	interval time.Duration
	// makes dials or accepts a connection, and reads or assigns its id.
	makes func() (string, net.Conn, error)
}

func newPool(capacity int, interval time.Duration) *Pool {
	p := &Pool{ready: map[string]net.Conn{}, capacity: capacity, interval: interval}
	p.changed = sync.NewCond(&p.lock)
	return p
}

// NewClientPool creates a pool that dials.
func NewClientPool(
	minCap, _ int, minIvl, _, _ time.Duration, tlsCode string, _ bool, hostname string,
	dialer func() (net.Conn, error),
) *Pool {
	p := newPool(minCap, minIvl)
	p.makes = func() (string, net.Conn, error) {
		conn, err := dialer()
		if err != nil {
			return "", nil, err
		}
		if tlsCode != "0" {
			conn = tls.Client(conn, &tls.Config{
				MinVersion: tls.VersionTLS13, ServerName: hostname, InsecureSkipVerify: tlsCode == "1",
			})
		}
		id := make([]byte, idLength)
		if _, err := io.ReadFull(conn, id); err != nil {
			conn.Close()
			return "", nil, err
		}
		return string(id), conn, nil
	}
	return p
}

// NewServerPool creates a pool that accepts.
func NewServerPool(_ string, config *tls.Config, listener net.Listener, _ time.Duration) *Pool {
	p := newPool(1<<16, 0)
	p.makes = func() (string, net.Conn, error) {
		conn, err := listener.Accept()
		if err != nil {
			return "", nil, err
		}
		if config != nil {
			conn = tls.Server(conn, config)
		}
		random := make([]byte, idLength/2)
		if _, err := rand.Read(random); err != nil {
			return "", nil, err
		}
		id := hex.EncodeToString(random)
		if _, err := conn.Write([]byte(id)); err != nil {
			conn.Close()
			return "", nil, err
		}
		return id, conn, nil
	}
	return p
}

// ClientManager keeps a client's pool filled.
func (p *Pool) ClientManager() {
	for !p.isClosed() {
		for p.Active() < p.capacity && p.add() == nil {
		}
		time.Sleep(p.interval)
	}
}

// ServerManager accepts until the pool is closed.
func (p *Pool) ServerManager() {
	for !p.isClosed() {
		if p.add() != nil {
			time.Sleep(time.Millisecond)
		}
	}
}

func (p *Pool) isClosed() bool {
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.closed
}

func (p *Pool) add() error {
	id, conn, err := p.makes()
	if err == nil {
		p.Put(id, conn)
	}
	return err
}

// ClientGet takes the connection with an id, or returns nil.
func (p *Pool) ClientGet(id string) net.Conn {
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.take(id)
}

// ServerGet waits for any connection.
func (p *Pool) ServerGet() (string, net.Conn) {
	p.lock.Lock()
	defer p.lock.Unlock()
	for len(p.order) == 0 && !p.closed {
		p.changed.Wait()
	}
	if len(p.order) == 0 {
		return "closed", nil
	}
	id := p.order[0]
	return id, p.take(id)
}

func (p *Pool) take(id string) net.Conn {
	conn, ok := p.ready[id]
	if !ok {
		return nil
	}
	delete(p.ready, id)
	p.order = slices.DeleteFunc(p.order, func(other string) bool { return other == id })
	return conn
}

// Put adds a connection, or puts one back.
func (p *Pool) Put(id string, conn net.Conn) {
	p.lock.Lock()
	defer p.lock.Unlock()
	if _, twice := p.ready[id]; twice || p.closed {
		conn.Close()
		return
	}
	p.ready[id] = conn
	p.order = append(p.order, id)
	p.changed.Broadcast()
}

// Flush closes the ready connections.
func (p *Pool) Flush() {
	p.lock.Lock()
	defer p.lock.Unlock()
	for _, conn := range p.ready {
		conn.Close()
	}
	clear(p.ready)
	p.order = nil
}

// Close closes the pool and its ready connections.
func (p *Pool) Close() {
	p.lock.Lock()
	p.closed = true
	p.changed.Broadcast()
	p.lock.Unlock()
	p.Flush()
}

// Active returns the number of ready connections.
func (p *Pool) Active() int {
	p.lock.Lock()
	defer p.lock.Unlock()
	return len(p.order)
}

// Capacity returns the number of connections that the pool keeps ready.
func (p *Pool) Capacity() int { return p.capacity }

// Interval returns the time between two rounds.
func (p *Pool) Interval() time.Duration { return p.interval }
