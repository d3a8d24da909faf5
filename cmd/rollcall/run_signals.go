package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// orders are the signals that come while a program runs.
type orders struct {
	stop  context.Context // ends with the first signal that asks for the end
	hurry context.Context // ends with the second

	ask, rush context.CancelFunc
	signals   chan os.Signal
	done      chan struct{}
	wg        sync.WaitGroup

	mu    sync.Mutex
	first os.Signal // that asked for the end
}

// takeOrders takes the signals over from main: here a second one is not the end of this process, but that of the program.
func takeOrders(ctx context.Context) *orders {
	o := &orders{signals: make(chan os.Signal, 16), done: make(chan struct{})}
	o.stop, o.ask = context.WithCancel(ctx) // also when main had one before
	o.hurry, o.rush = context.WithCancel(context.WithoutCancel(ctx))
	signal.Reset(os.Interrupt, syscall.SIGTERM)
	signal.Notify(o.signals, os.Interrupt, syscall.SIGTERM)
	for _, s := range passedOn {
		if !signal.Ignored(s) { // by nohup, for instance: then the program ignores it, too
			signal.Notify(o.signals, s)
		}
	}
	return o
}

// follow carries the orders out until close.
func (o *orders) follow(p *program) {
	o.wg.Go(func() {
		for {
			select {
			case <-o.done:
				return
			case s := <-o.signals:
				o.obey(p, s)
			}
		}
	})
}

func (o *orders) obey(p *program, s os.Signal) {
	switch {
	case s != os.Interrupt && s != syscall.SIGTERM:
		p.pass(s)
	case o.stop.Err() == nil:
		o.mu.Lock()
		o.first = s
		o.mu.Unlock()
		o.ask()
	default:
		p.kill()
		o.rush()
	}
}

// signal is the one that asked for the end.
func (o *orders) signal() os.Signal {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.first == nil {
		return syscall.SIGTERM
	}
	return o.first
}

// close goes back to what signals do to any process.
func (o *orders) close() {
	signal.Reset(os.Interrupt, syscall.SIGTERM)
	signal.Stop(o.signals)
	close(o.done)
	o.wg.Wait()
	o.ask()
	o.rush()
}
