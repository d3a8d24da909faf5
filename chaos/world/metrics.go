package world

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Requests is how many messages the members that answer have received for a method of etcd's API since they started; ""
// is all methods.
func (w *World) Requests(method string) float64 {
	sum := 0.0
	for _, m := range w.Cluster.Members() {
		n, err := received(m.Endpoint(), method)
		if err == nil {
			sum += n
		}
	}
	return sum
}

// received reads one member's own count.
func received(endpoint, method string) (float64, error) {
	client := http.Client{Timeout: 2 * time.Second}
	resp, err := client.Get(fmt.Sprintf("http://%s/metrics", endpoint))
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	sum := 0.0
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, "grpc_server_msg_received_total{") || method != "" && !strings.Contains(line, `grpc_method="`+method+`"`) {
			continue
		}
		if n, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64); err == nil {
			sum += n
		}
	}
	return sum, lines.Err()
}

// Meter counts what the members receive from now on, also while they are killed and started. The function that it returns
// ends that, and returns how many messages a second there were.
func (w *World) Meter() (stop func() float64) {
	ctx, cancel := context.WithCancel(w.T.Context())
	began, sum := time.Now(), 0.0
	done := make(chan struct{})
	last := map[string]float64{}
	look := func() {
		for _, m := range w.Cluster.Members() {
			n, err := received(m.Endpoint(), "")
			if err != nil {
				continue
			}
			if was, known := last[m.Endpoint()]; known && n >= was {
				sum += n - was
			} else if known { // it was started anew
				sum += n
			}
			last[m.Endpoint()] = n
		}
	}
	look()
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(2 * time.Second):
				look()
			}
		}
	}()
	return func() float64 {
		cancel()
		<-done
		look()
		return sum / time.Since(began).Seconds()
	}
}
