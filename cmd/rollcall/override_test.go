package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// interrupted is a registry where somebody else decides between what a command reads and what it writes.
type interrupted struct {
	library
	meanwhile func()
}

func (i interrupted) Override(ctx context.Context, service, id string) (rollcall.Override, error) {
	defer i.meanwhile()
	return i.library.Override(ctx, service, id)
}

func (i interrupted) Policy(ctx context.Context, service string) (rollcall.Policy, error) {
	defer i.meanwhile()
	return i.library.Policy(ctx, service)
}

func TestOfTwoOperatorsAtOnceTheSecondIsToldAndNothingIsLost(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	reg, err := rollcall.Open(rollcall.ClientConfig(etcd.Endpoint()))
	if err != nil {
		t.Fatal(err)
	}
	defer closeBackend(ctx, library{reg})
	if _, err := reg.Register(ctx, "s", rollcall.Instance{Addr: "127.0.0.1:50051", ID: "one"}); err != nil {
		t.Fatal(err)
	}
	mine := decision{reason: "mine", author: "me"}
	drain := overrideCommand{decision: mine}
	undo := undoCommand{mine}
	policy := policyCommand{decision: mine}
	setDrain := func(o *rollcall.Override) { o.Drain = true }
	set := func() error {
		_, err := reg.SetOverride(ctx, "s", "one", rollcall.Override{Weight: 7, Author: "another", Revision: rollcall.AnyRevision})
		return err
	}
	unset := func() error { return reg.DeleteOverride(ctx, "s", "one", rollcall.AnyRevision) }
	setPolicy := func() error {
		_, err := reg.SetPolicy(ctx, "s", rollcall.Policy{Timeout: time.Second, Author: "another", Revision: rollcall.AnyRevision})
		return err
	}
	unsetPolicy := func() error { return reg.DeletePolicy(ctx, "s", rollcall.AnyRevision) }

	for _, c := range []struct {
		name          string
		before, other func() error
		do            func(b backend) error
	}{
		{"a drain, where another has weighed", unset, set, func(b backend) error {
			_, err := drain.decide(ctx, b, "s", "one", setDrain)
			return err
		}},
		{"a drain, where another has undone", set, unset, func(b backend) error {
			_, err := drain.decide(ctx, b, "s", "one", setDrain)
			return err
		}},
		{"an undo, where another has weighed", set, set, func(b backend) error {
			_, err := undo.undo(ctx, b, "s", "one")
			return err
		}},
		{"a policy, where another has set the first", unsetPolicy, setPolicy, func(b backend) error {
			return policy.replace(ctx, b, "s", rollcall.Policy{}, io.Discard, io.Discard)
		}},
		{"a policy, where another has deleted it", setPolicy, unsetPolicy, func(b backend) error {
			return policy.replace(ctx, b, "s", rollcall.Policy{}, io.Discard, io.Discard)
		}},
		{"a policy deleted, where another has set it", setPolicy, setPolicy, func(b backend) error {
			return policy.delete(ctx, b, "s", io.Discard, io.Discard)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.before(); err != nil {
				t.Fatal(err)
			}
			b := interrupted{library{reg}, func() {
				if err := c.other(); err != nil {
					t.Error(err)
				}
			}}
			err := c.do(b)
			if !errors.Is(err, rollcall.ErrConflict) || exitCode(ctx, err) != exitConflict || !strings.Contains(err.Error(), "try again") {
				t.Errorf("got %v, want a conflict that says to try again", err)
			}
			o, err := reg.Override(ctx, "s", "one")
			if err == nil && o.Author != "another" || err != nil && !errors.Is(err, rollcall.ErrNotFound) {
				t.Errorf("the override is %+v, %v: the other's word is lost", o, err)
			}
			p, err := reg.Policy(ctx, "s")
			if err == nil && p.Author != "another" || err != nil && !errors.Is(err, rollcall.ErrNotFound) {
				t.Errorf("the policy is %+v, %v: the other's word is lost", p, err)
			}
			if err := c.do(library{reg}); err != nil {
				t.Errorf("tried again: %v", err)
			}
		})
	}
}

func TestWhatAnOperatorDecidedIsShownBesideWhatTheInstanceSays(t *testing.T) {
	t.Parallel()
	draining := rollcall.StateDraining
	for _, c := range []struct {
		inst rollcall.Instance
		want []string
	}{
		{rollcall.Instance{State: rollcall.StateServing, Weight: 100}, []string{"serving", "100"}},
		{rollcall.Instance{State: draining, Weight: 100}, []string{"draining", "100"}},
		{rollcall.Instance{State: draining, Weight: 100, Override: &rollcall.Override{Weight: 5}}, []string{"draining", "100→5"}},
		{rollcall.Instance{State: rollcall.StateServing, Weight: 5, Override: &rollcall.Override{Drain: true, Weight: 5}}, []string{"draining (operator)", "5"}},
		{rollcall.Instance{State: rollcall.StateServing, Weight: 100, Suspect: true, Override: &rollcall.Override{Drain: true}}, []string{"suspect", "100"}},
	} {
		if diff := cmp.Diff(c.want, instanceCells(&c.inst)[2:4]); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c.inst, diff)
		}
	}
}

func TestIDsAreQuotedForTheShell(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"10.0.0.7:50051": "10.0.0.7:50051", "[::1]:50051": "'[::1]:50051'", "a b": "'a b'", "it's": `'it'\''s'`, "": "-",
		"-x": "'-x'", "$(reboot)": "'$(reboot)'", "\x1b[2J": `"\x1b[2J"`,
	} {
		if got := shellWord(in); got != want {
			t.Errorf("%q is written %s, want %s", in, got, want)
		}
	}
}
