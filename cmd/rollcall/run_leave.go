package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/rollcall-io/rollcall"
)

const (
	// etcdPatience is how long etcd may take in all for what it is asked at the end: longer than it needs to elect another leader.
	etcdPatience = 5600 * time.Millisecond

	// lostPatience is what an etcd gets that has used that up, or has not answered for as long.
	lostPatience = 200 * time.Millisecond

	// hurriedPatience is what is left for the goodbye once a second signal came.
	hurriedPatience = time.Second

	// killPatience is how long a program that was killed may take to be gone; one that waits for a dead disk never is.
	killPatience = 2 * time.Second
)

// leave tells callers that the program goes, gives them time to hear it, and says goodbye. None of it outlasts the program, or a second signal.
func (r *runner) leave(reg runRegistration) {
	if reg == nil {
		return
	}
	if r.stay > 0 {
		if err := r.ask(reg.Drain); err != nil {
			r.etcdLeft = 0 // nobody could hear it, and there is no reason to wait
		} else {
			r.say("draining %s for %v", r.id, r.stay)
			select {
			case <-time.After(r.stay):
			case <-r.program.ended:
			case <-reg.Done():
			case <-r.orders.hurry.Done():
			}
		}
	}
	r.goodbye(reg)
}

// goodbye deregisters.
func (r *runner) goodbye(reg runRegistration) {
	if reg == nil || reg.Err() != nil {
		return
	}
	if err := r.ask(reg.Deregister); err != nil {
		r.say("%v; the instance stays visible until its TTL of %v has run out", inFlagWords(err, nil), r.ttl)
		return
	}
	r.say("deregistered %s", r.id)
}

// ask does something that waits for etcd, for no longer than is left of the patience with it. One that has not answered for a
// while already has used up as much.
func (r *runner) ask(do func(context.Context) error) error {
	patience := r.etcdLeft
	if since, _ := r.registry.Trouble(); !since.IsZero() {
		patience = min(patience, etcdPatience-time.Since(since))
	}
	ctx, cancel := context.WithTimeout(context.Background(), max(patience, lostPatience))
	defer cancel()
	defer context.AfterFunc(r.orders.hurry, func() { pause(ctx, hurriedPatience); cancel() })()
	began := time.Now()
	err := do(ctx)
	r.etcdLeft -= time.Since(began)
	return err
}

// end has the program end: it gets the signal, and is killed when that takes too long.
func (r *runner) end(s os.Signal) {
	r.told = time.Now()
	r.program.signal(s)
	var late <-chan time.Time
	if r.stop > 0 {
		late = time.After(r.stop)
	}
	select {
	case <-r.program.ended:
	case <-r.orders.hurry.Done():
	case <-late:
		r.say("%s did not end within %v of %v; killing it", r.name, r.stop, s)
		r.program.kill()
	}
	if r.orders.hurry.Err() != nil {
		r.say("killed %s, as asked by a second signal", r.name)
	}
	select {
	case <-r.program.ended:
	case <-time.After(killPatience):
		r.say("%s cannot be killed; it is left behind", r.name)
	}
}

// replaced stops a program whose id another one has taken: it would serve nobody, and the other needs its place.
func (r *runner) replaced(reg runRegistration) error {
	notifyStopping("replaced")
	err := reg.Err()
	if errors.Is(err, rollcall.ErrReplaced) {
		err = fmt.Errorf("%w: %s", err, r.newcomer())
	}
	r.end(syscall.SIGTERM)
	return fmt.Errorf("%s: %w", r.id, err)
}

// newcomer says who took the id, and how two do not take it from each other for ever.
func (r *runner) newcomer() string {
	who := "somebody else"
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	id := r.inst.ID
	if id == "" {
		id = r.inst.Addr
	}
	if now := r.registry.Holder(ctx, r.service, id); now != nil {
		who = fmt.Sprintf("the instance at %s, registered at %s,", now.Addr, clock(now.Registered.Local(), time.Now()))
	}
	return fmt.Sprintf("%s has the id of %s at %s; %s was stopped. Give each its own --id; under systemd RestartPreventExitStatus=5 keeps two from replacing each other for ever",
		who, r.name, r.inst.Addr, r.name)
}

// clear ends what the program left behind in its process group.
func (r *runner) clear() {
	if !r.program.left() {
		return
	}
	if r.told.IsZero() {
		r.told = time.Now()
		r.program.signal(syscall.SIGTERM)
	}
	for r.program.left() {
		if r.orders.hurry.Err() != nil || r.stop > 0 && time.Since(r.told) > r.stop {
			r.say("killing what %s left behind", r.name)
			r.program.kill()
			return
		}
		pause(r.orders.hurry, 20*time.Millisecond)
	}
}
