package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"reflect"
	"time"

	"github.com/NodePassProject/pool"
)

// The releases differ in the names, parameters and results of their functions. Reflection finds the
// differences at run time, so that this program builds with every release.

// Facts describes the functions of the release that the program is built on.
type Facts struct {
	Any   string `json:"any"`
	ByID  string `json:"by_id"`
	Put   bool   `json:"put"`
	Clean bool   `json:"clean"`
	Flush bool   `json:"flush"`
}

var (
	anyNames  = []string{"IncomingGet", "ServerGet"}
	byIDNames = []string{"OutgoingGet", "ClientGet"}
)

func has(name string) bool {
	_, ok := reflect.TypeFor[*pool.Pool]().MethodByName(name)
	return ok
}

func firstOf(names []string) string {
	for _, name := range names {
		if has(name) {
			return name
		}
	}
	return ""
}

func facts(Request) (Answer, error) {
	return Answer{Facts: &Facts{
		Any: firstOf(anyNames), ByID: firstOf(byIDNames),
		Put: has("Put"), Clean: has("Clean"), Flush: has("Flush"),
	}}, nil
}

// hasParameter returns whether a function has a parameter of type T. Releases without a parameter for
// TLS leave it to the user's dialer and listener.
func hasParameter[T any](function any) bool {
	signature := reflect.TypeOf(function)
	for i := range signature.NumIn() {
		if signature.In(i) == reflect.TypeFor[T]() {
			return true
		}
	}
	return false
}

// reading returns the result of a method without parameters, or 0 if the release does not have it.
func reading(p *pool.Pool, name string) int64 {
	method := reflect.ValueOf(p).MethodByName(name)
	if !method.IsValid() {
		return 0
	}
	return method.Call(nil)[0].Int()
}

// fill chooses an argument for each parameter of function by type. Several arguments of a type keep
// their order, which is the same in all releases.
func fill(function any, given ...any) ([]reflect.Value, error) {
	byType := map[reflect.Type][]reflect.Value{}
	for _, argument := range given {
		value := reflect.ValueOf(argument)
		byType[value.Type()] = append(byType[value.Type()], value)
	}
	signature := reflect.TypeOf(function)
	arguments := make([]reflect.Value, signature.NumIn())
	for i := range arguments {
		wanted := signature.In(i)
		found := false
		for kind, values := range byType {
			if len(values) > 0 && kind.AssignableTo(wanted) {
				arguments[i], byType[kind], found = values[0], values[1:], true
				break
			}
		}
		if !found {
			return nil, fmt.Errorf("no argument for parameter %d of %v", i, signature)
		}
	}
	return arguments, nil
}

func newPool(function any, given ...any) (*pool.Pool, error) {
	arguments, err := fill(function, given...)
	if err != nil {
		return nil, err
	}
	made, ok := reflect.ValueOf(function).Call(arguments)[0].Interface().(*pool.Pool)
	if !ok || made == nil {
		return nil, errors.New("the module returned nil instead of a pool")
	}
	return made, nil
}

type dialer = func() (net.Conn, error)

func newClient(request Request, dial dialer) (*pool.Pool, error) {
	ms := func(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }
	// A parameter of some early releases: whether to skip the id exchange.
	const single = false
	return newPool(pool.NewClientPool,
		request.Min, request.Max,
		ms(request.MinMs), ms(request.MaxMs), ms(request.KeepAliveMs),
		request.TLS, request.Host, single, dial)
}

func newServer(request Request, config *tls.Config, listener net.Listener) (*pool.Pool, error) {
	keepAlive := time.Duration(request.KeepAliveMs) * time.Millisecond
	return newPool(pool.NewServerPool,
		request.Max, request.ClientIP, config, listener, keepAlive)
}

// taken is the result of a take; fields that a release does not return are zero.
type taken struct {
	id   string
	conn net.Conn
	err  error
}

// take calls the first of these methods that the release has. A panic becomes an error.
func take(p *pool.Pool, names []string, given ...any) (got taken, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panic: %v", panicked)
		}
	}()
	method := reflect.ValueOf(p).MethodByName(firstOf(names))
	if !method.IsValid() {
		return taken{}, fmt.Errorf("this release has none of %v", names)
	}
	arguments, err := fill(method.Interface(), given...)
	if err != nil {
		return taken{}, err
	}
	for _, result := range method.Call(arguments) {
		switch result := result.Interface().(type) {
		case string:
			got.id = result
		case net.Conn:
			got.conn = result
		case error:
			got.err = result
		}
	}
	if got.conn == nil && got.err == nil {
		got.err = errors.New("no connection: " + got.id)
	}
	return got, nil
}

// call calls a method without results; it is an error if the release does not have it.
func call(p *pool.Pool, name string, given ...any) error {
	method := reflect.ValueOf(p).MethodByName(name)
	if !method.IsValid() {
		return errors.New("this release has no " + name)
	}
	arguments, err := fill(method.Interface(), given...)
	if err == nil {
		method.Call(arguments)
	}
	return err
}
