package demo

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
)

func TestTheStoryFitsIntoEveryLength(t *testing.T) {
	for _, length := range []time.Duration{MinFor, 12 * time.Second, 20 * time.Second, time.Hour} {
		s, err := Config{For: length}.story()
		if err != nil {
			t.Fatalf("story of %v: %v", length, err)
		}
		if s.end != length {
			t.Errorf("story of %v ends after %v", length, s.end)
		}
		if !slices.IsSortedFunc(s.steps, func(a, b step) int { return int(a.at - b.at) }) {
			t.Errorf("story of %v is out of order: %v", length, s.steps)
		}
		for _, step := range s.steps {
			left := s.end - step.at
			if step.do == kill && left < ttl+expirySlack+expiryMargin {
				t.Errorf("story of %v leaves only %v for the killed server to expire", length, left)
			}
			if left < 3*time.Second {
				t.Errorf("story of %v leaves only %v after its step %v", length, left, step)
			}
		}
	}
}

func TestWhatTheDemoRefusesNamesTheFlagAndTheRule(t *testing.T) {
	tests := []struct {
		name  string
		cfg   Config
		field string
	}{
		{"too short", Config{For: MinFor - time.Millisecond}, "--for"},
		{"no time", Config{}, "--for"},
		{"negative", Config{For: -time.Minute}, "--for"},
		{"an unknown sabotage", Config{For: MinFor, Sabotage: "burn"}, "--sabotage"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Run(t.Context(), tt.cfg)
			invalid, ok := errors.AsType[*rollcall.InvalidError](err)
			if !ok || invalid.Field != tt.field || invalid.Rule == "" {
				t.Errorf("Run(%+v) = %v, want an InvalidError about %s", tt.cfg, err, tt.field)
			}
		})
	}
}
