package main

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"time"
)

var conns table[net.Conn]

// soon is the longest time that any step on loopback may take.
const soon = 10 * time.Second

func sum(data []byte) string {
	hash := fnv.New64a()
	hash.Write(data)
	return fmt.Sprintf("%016x", hash.Sum64())
}

func with(request Request, do func(net.Conn) (Answer, error)) (Answer, error) {
	conn, err := conns.get(request.Conn)
	if err != nil {
		return Answer{}, err
	}
	if err := conn.SetDeadline(time.Now().Add(soon)); err != nil {
		return Answer{}, err
	}
	answer, err := do(conn)
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	return answer, err
}

func randomBytes(request Request) []byte {
	data := make([]byte, request.Bytes)
	random := rand.New(rand.NewPCG(request.Seed, 0))
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return data
}

func write(request Request) (Answer, error) {
	return with(request, func(conn net.Conn) (Answer, error) {
		data := randomBytes(request)
		_, err := conn.Write(data)
		return Answer{Sum: sum(data)}, err
	})
}

// send writes random bytes and reads their echo at the same time, because the sockets may not hold all
// of them.
func send(request Request) (Answer, error) {
	return with(request, func(conn net.Conn) (Answer, error) {
		data := randomBytes(request)
		written := make(chan error, 1)
		go func() {
			_, err := conn.Write(data)
			written <- err
		}()
		back := make([]byte, len(data))
		_, err := io.ReadFull(conn, back)
		if err := errors.Join(err, <-written); err != nil {
			return Answer{}, err
		}
		if !bytes.Equal(data, back) {
			return Answer{}, errors.New("the bytes that came back differ from those sent")
		}
		return Answer{Sum: sum(data)}, nil
	})
}

// echo reads request.Bytes bytes, and then writes them back.
func echo(request Request) (Answer, error) {
	return with(request, func(conn net.Conn) (Answer, error) {
		data := make([]byte, request.Bytes)
		if _, err := io.ReadFull(conn, data); err != nil {
			return Answer{}, err
		}
		_, err := conn.Write(data)
		return Answer{Sum: sum(data)}, err
	})
}

// closeWrite closes the writing half: by a FIN, or with TLS by a close_notify.
func closeWrite(request Request) (Answer, error) {
	return with(request, func(conn net.Conn) (Answer, error) {
		half, ok := conn.(interface{ CloseWrite() error })
		if !ok {
			return Answer{}, fmt.Errorf("%T has no CloseWrite", conn)
		}
		return Answer{}, half.CloseWrite()
	})
}

func readToEnd(request Request) (Answer, error) {
	return with(request, func(conn net.Conn) (Answer, error) {
		data, err := io.ReadAll(conn)
		return Answer{Bytes: len(data), Sum: sum(data)}, err
	})
}

func closeConn(request Request) (Answer, error) {
	conn, err := conns.get(request.Conn)
	if err != nil {
		return Answer{}, err
	}
	conns.remove(request.Conn)
	return Answer{}, conn.Close()
}
