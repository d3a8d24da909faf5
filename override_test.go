package rollcall

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestAnOverrideThatIsWrongIsRefusedWithFieldValueAndRule(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, tc := range map[string]struct {
		o    Override
		want []string // of the refusal
	}{
		"nothing decided":    {Override{Reason: "for fun"}, []string{"Override", "drains or has a weight"}},
		"negative weight":    {Override{Drain: true, Weight: -1}, []string{"Override.Weight", "-1", "or more"}},
		"long reason":        {Override{Drain: true, Reason: strings.Repeat("x", 1025)}, []string{"Override.Reason", "1025 bytes", "1 KiB"}},
		"reason not UTF-8":   {Override{Drain: true, Reason: "\xff"}, []string{"Override.Reason", "UTF-8"}},
		"long author":        {Override{Drain: true, Author: strings.Repeat("x", 254)}, []string{"Override.Author", "254 bytes", "253 bytes"}},
		"author not UTF-8":   {Override{Drain: true, Author: "\xff"}, []string{"Override.Author", "UTF-8"}},
		"over already":       {Override{Drain: true, Until: now.Add(-time.Hour)}, []string{"Override.Until", now.Add(-time.Hour).Format(time.RFC3339), "the future"}},
		"over at this point": {Override{Drain: true, Until: now}, []string{"Override.Until", "the future"}},
	} {
		err := tc.o.validate(now)
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, part := range tc.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: the refusal %q does not say %q", name, err, part)
			}
		}
	}
}

// someOverride draws one that may be written.
func someOverride(t *rapid.T) Override {
	o := Override{
		Drain:  rapid.Bool().Draw(t, "drain"),
		Weight: rapid.IntRange(0, 1<<40).Draw(t, "weight"),
		Reason: rapid.StringN(0, 50, maxReasonLen).Draw(t, "reason"),
		Author: rapid.StringN(0, 50, maxLabelLen).Draw(t, "author"),
		Since:  time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "since"), 0).UTC(),
	}
	if !o.Drain {
		o.Weight++
	}
	if rapid.Bool().Draw(t, "ends") {
		o.Until = time.Now().Add(time.Hour).Add(time.Duration(rapid.Int64Range(0, 1<<60).Draw(t, "until"))).UTC().Round(0)
	}
	return o
}

func TestAnOverrideIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := someOverride(t)
		if err := o.validate(time.Now()); err != nil {
			t.Fatal(err)
		}
		value, err := o.encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeOverride(value)
		if err != nil {
			t.Fatalf("%s: %v", value, err)
		}
		if diff := cmp.Diff(&o, back); diff != "" || !o.equal(back) {
			t.Fatalf("%s (-written +read):\n%s", value, diff)
		}
	})
}

func TestAnOverrideThatDecidesNothingIsNone(t *testing.T) {
	t.Parallel()
	for _, value := range []string{``, `x`, `[]`, `7`, `{}`, `null`, `{"Weight":0}`, `{"Weight":-5}`, `{"Weight":"5"}`, `{"Drain":"yes"}`, `{"Drain":true,"Until":"soon"}`} {
		if o, err := decodeOverride([]byte(value)); err == nil {
			t.Errorf("%s is read as %+v", value, o)
		}
	}
	large := `{"Drain":true,"Reason":"` + strings.Repeat("x", maxReadLen) + `"}`
	if _, err := decodeOverride([]byte(large)); !errors.Is(err, errTooLarge) {
		t.Errorf("one that is too large: %v", err)
	}
	// What a later version adds does not disturb this one.
	if o, err := decodeOverride([]byte(`{"Drain":true,"Ticket":"OPS-1"}`)); err != nil || !o.Drain {
		t.Errorf("with an unknown field: %+v, %v", o, err)
	}
}

func TestWhatCountsIsTheOperatorsWordAndElseTheInstances(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		state  State
		o      *Override
		want   State
		weight int
	}{
		"no override":                   {StateServing, nil, StateServing, 70},
		"no override, draining":         {StateDraining, nil, StateDraining, 70},
		"drained":                       {StateServing, &Override{Drain: true}, StateDraining, 70},
		"drained and weighed":           {StateServing, &Override{Drain: true, Weight: 5}, StateDraining, 5},
		"weighed":                       {StateServing, &Override{Weight: 5}, StateServing, 5},
		"weighed, draining by its word": {StateDraining, &Override{Weight: 5}, StateDraining, 5},
	} {
		i := &Instance{ID: "a", State: tc.state, Weight: 70, Override: tc.o}
		if i.EffectiveState() != tc.want || i.EffectiveWeight() != tc.weight || i.Serving() != (tc.want == StateServing) {
			t.Errorf("%s: %v, %d, serving %v", name, i.EffectiveState(), i.EffectiveWeight(), i.Serving())
		}
		if i.State != tc.state || i.Weight != 70 {
			t.Errorf("%s: what the instance says itself is lost: %+v", name, i)
		}
	}
}

func TestAnOverrideCountsUntilItsEndAndNotAtIt(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, tc := range map[string]struct {
		o    *Override
		want bool
	}{
		"none":            {nil, false},
		"without an end":  {&Override{Drain: true}, true},
		"a moment before": {&Override{Drain: true, Until: now.Add(1)}, true},
		"at its end":      {&Override{Drain: true, Until: now}, false},
		"after it":        {&Override{Drain: true, Until: now.Add(-1)}, false},
	} {
		if got := tc.o.active(now); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
