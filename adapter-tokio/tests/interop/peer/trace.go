package main

import (
	"sync"
	"time"
)

// Sample is the state of a client pool at a time, in microseconds since the start of the trace.
type Sample struct {
	Us int64 `json:"us"`
	Stats
}

// trace is a list of samples, each different from the one before.
type trace struct {
	lock    sync.Mutex
	start   time.Time
	samples []Sample
}

// sampleEvery is short compared with an interval, which is at least 100 ms, and cheap: it is a handful
// of atomic loads.
const sampleEvery = 500 * time.Microsecond

// watch traces a pool from before its first round until the program ends.
func (i *instance) watch() {
	i.trace = &trace{start: time.Now()}
	i.sample()
	go func() {
		for range time.Tick(sampleEvery) {
			i.sample()
		}
	}()
}

func (i *instance) sample() {
	now := Sample{Us: time.Since(i.trace.start).Microseconds(), Stats: i.stats()}
	i.trace.lock.Lock()
	defer i.trace.lock.Unlock()
	last := len(i.trace.samples) - 1
	if last < 0 || i.trace.samples[last].Stats != now.Stats {
		i.trace.samples = append(i.trace.samples, now)
	}
}

// samples returns the trace of a pool that was created with Trace.
func samples(request Request) (Answer, error) {
	which, err := pools.get(request.Pool)
	if err != nil {
		return Answer{}, err
	}
	which.trace.lock.Lock()
	defer which.trace.lock.Unlock()
	return Answer{Samples: append([]Sample(nil), which.trace.samples...)}, nil
}
