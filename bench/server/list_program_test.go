//go:build linux

package server

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// askerArgs are for a process that asks the same again and again, on some connections.
type askerArgs struct {
	Method, URL, Body string
	Conns             int
}

// asked is what came of it: answers and their bytes, and how long each took.
type asked struct {
	Answers, Bytes int64
	Took           spread
}

// playAskers asks for as long as each order says.
func playAskers(p *player) error {
	var args askerArgs
	if err := p.args(&args); err != nil {
		return err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: args.Conns, DisableCompression: true}
	client := &http.Client{Transport: transport, Timeout: patience}
	for {
		var window time.Duration
		if p.orders.Decode(&window) != nil {
			return nil
		}
		answer, err := args.ask(client, window)
		if err == nil {
			err = p.say(answer)
		}
		if err != nil {
			return err
		}
	}
}

// ask asks once on each connection at least.
func (a askerArgs) ask(client *http.Client, window time.Duration) (sum asked, err error) {
	var wg sync.WaitGroup
	var mu sync.Mutex // of what is returned, and of times
	var times []time.Duration
	end := time.Now().Add(window)
	for range a.Conns {
		wg.Go(func() {
			for again := true; again; again = time.Now().Before(end) {
				began := time.Now()
				n, failed := a.once(client)
				mu.Lock()
				times = append(times, time.Since(began))
				sum.Answers, sum.Bytes = sum.Answers+1, sum.Bytes+n
				if failed != nil {
					err, again = failed, false
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	sum.Took = spreadOf(times)
	return sum, err
}

func (a askerArgs) once(client *http.Client) (int64, error) {
	req, err := http.NewRequest(a.Method, a.URL, strings.NewReader(a.Body))
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s", a.Method, a.URL, resp.Status)
	}
	return n, err
}
