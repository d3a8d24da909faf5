package rollcallgrpc

import (
	"context"
	"os"
	"os/signal"
)

// life is how long a server is to serve, and how long it may take its time to leave.
type life struct {
	wanted  context.Context // ends when the server is to leave
	leave   context.CancelFunc
	patient context.Context // ends when it is to stop at once
	hurry   context.CancelFunc
	done    chan struct{} // closed when it has stopped
}

func newLife(parent context.Context) *life {
	l := &life{done: make(chan struct{})}
	l.wanted, l.leave = context.WithCancel(parent)
	l.patient, l.hurry = context.WithCancel(context.WithoutCancel(parent)) // what ends the server must not end its goodbye
	return l
}

func (l *life) over() {
	l.leave()
	l.hurry()
	close(l.done)
}

// heed has the first signal end the wish and the second the patience. The goroutine that it returns runs until the life is over;
// signals are caught from now on until then.
func (l *life) heed(signals []os.Signal) func() {
	caught := make(chan os.Signal, 2)
	signal.Notify(caught, signals...)
	return func() {
		defer signal.Stop(caught)
		for _, heed := range []func(){l.leave, l.hurry} {
			select {
			case <-caught:
				heed()
			case <-l.done:
				return
			}
		}
		<-l.done
	}
}
