// The other end in the interop tests: a program on the reference module, told by JSON lines what to
// do. A request is {"n": 1, "do": "...", ...}; its answer has the same n, and an error if it failed.
// Requests run side by side, so that one that waits holds up no other. It ends when its input does.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// Request is what the test wants; which fields count depends on Do.
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
	// client, server: the manager is not started
	Late bool `json:"late"`
	// client: what its dialer returns is no TCP connection
	Odd bool `json:"odd"`

	// any, by_id
	Ms int `json:"ms"`
	// write, send, echo
	Bytes int    `json:"bytes"`
	Seed  uint64 `json:"seed"`
}

// Answer is what became of a request.
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

// carryOut does what a request says. A panic of the module in a call of ours is an answer, too; one
// in its own goroutines ends the program, which the test then sees.
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
