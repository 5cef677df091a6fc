// The other end in the interop tests: a program on the module github.com/NodePassProject/pool, which
// carries out requests in JSON lines. A request is {"n": 1, "do": "...", ...}; its answer has the same n,
// and an error if the request failed. Requests run concurrently, so that a waiting one does not block
// the others. The program ends at the end of its input.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// Request is a request of the test; Do decides which fields are used.
type Request struct {
	N  int    `json:"n"`
	Do string `json:"do"`

	Pool int    `json:"pool"`
	Conn int    `json:"conn"`
	ID   string `json:"id"`

	// client, server
	Address     string `json:"address"`
	Min         int    `json:"min"`
	Max         int    `json:"max"`
	MinMs       int    `json:"min_ms"`
	MaxMs       int    `json:"max_ms"`
	KeepAliveMs int    `json:"keep_alive_ms"`
	TLS         string `json:"tls"`
	Host        string `json:"host"`
	ClientIP    string `json:"client_ip"`
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
	// client, server: leave the start of the manager to a later request
	Late bool `json:"late"`
	// client: return something other than a TCP connection from the dialer
	Odd bool `json:"odd"`
	// client: record a trace
	Trace bool `json:"trace"`

	// any, by_id
	Ms int `json:"ms"`
	// write, send, echo
	Bytes int    `json:"bytes"`
	Seed  uint64 `json:"seed"`
}

// Answer is the result of a request.
type Answer struct {
	N     int    `json:"n"`
	Error string `json:"error,omitempty"`

	Pool    int    `json:"pool,omitempty"`
	Conn    int    `json:"conn,omitempty"`
	ID      string `json:"id,omitempty"`
	Address string `json:"address,omitempty"`
	Sum     string `json:"sum,omitempty"`

	Root        string `json:"root,omitempty"`
	Certificate string `json:"certificate,omitempty"`
	Key         string `json:"key,omitempty"`

	Bytes int `json:"bytes,omitempty"`

	Facts *Facts `json:"facts,omitempty"`
	Stats *Stats `json:"stats,omitempty"`

	Samples []Sample `json:"samples,omitempty"`
}

func main() {
	var lock sync.Mutex
	out := json.NewEncoder(os.Stdout)
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var request Request
		if err := json.Unmarshal(in.Bytes(), &request); err != nil {
			fmt.Fprintln(os.Stderr, "not a request:", err)
			os.Exit(2)
		}
		go func() {
			answer := carryOut(request)
			answer.N = request.N
			lock.Lock()
			defer lock.Unlock()
			if err := out.Encode(answer); err != nil {
				os.Exit(2)
			}
		}()
	}
}

// carryOut performs a request. A panic of the module in one of our calls becomes an answer; a panic in
// its own goroutines ends the program, which the test notices.
func carryOut(request Request) (answer Answer) {
	defer func() {
		if panicked := recover(); panicked != nil {
			answer = Answer{Error: fmt.Sprint("panic: ", panicked)}
		}
	}()
	do, ok := map[string]func(Request) (Answer, error){
		"facts":          facts,
		"client":         client,
		"server":         server,
		"manage":         manage,
		"any":            takeAny,
		"by_id":          takeByID,
		"put":            put,
		"clean":          clean,
		"flush":          flush,
		"close_pool":     closePool,
		"close_listener": closeListener,
		"stats":          stats,
		"samples":        samples,
		"authority":      authority,
		"write":          write,
		"send":           send,
		"echo":           echo,
		"close_write":    closeWrite,
		"read_to_end":    readToEnd,
		"close":          closeConn,
	}[request.Do]
	if !ok {
		return Answer{Error: "no such request: " + request.Do}
	}
	answer, err := do(request)
	if err != nil {
		answer.Error = err.Error()
	}
	return answer
}
