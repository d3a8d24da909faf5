package httpapi

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// put lays a text of so many bytes on a shelf.
func put(s *shelf[string, int], key string, bytes int) *int {
	v := s.get(key, func() *int { return new(bytes) })
	s.weigh(key, v, bytes)
	return v
}

// lying returns what lies on a shelf, what was asked for last first.
func lying(s *shelf[string, int]) string {
	var keys []string
	for e := s.order.Front(); e != nil; e = e.Next() {
		keys = append(keys, e.Value.(*kept[string, int]).key)
	}
	return fmt.Sprint(strings.Join(keys, " "), ": ", s.bytes)
}

func TestAShelfHoldsNoMoreThanItMay(t *testing.T) {
	t.Parallel()
	s := newShelf[string, int](3, 100, time.Hour)
	for _, c := range []struct {
		key   string
		bytes int
		want  string
	}{
		{"a", 10, "a: 10"},
		{"b", 20, "b a: 30"},
		{"c", 30, "c b a: 60"},
		{"a", 10, "a c b: 60"},
		{"d", 40, "d a c: 80"}, // one too many
		{"a", 60, "a d: 100"},  // too many bytes
		{"e", 101, ": 0"},      // more than all may be
	} {
		put(s, c.key, c.bytes)
		if got := lying(s); got != c.want {
			t.Fatalf("after %s: %s, want %s", c.key, got, c.want)
		}
	}
	gone := put(s, "a", 10)
	s.clear()
	put(s, "a", 5)
	s.weigh("a", gone, 90)
	if got := lying(s); got != "a: 5" {
		t.Errorf("what is not there any more weighs: %s", got)
	}
}

func TestWhatNobodyAsksForGoesWhenSomethingElseComes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf[string, int](10, 100, time.Minute)
		put(s, "a", 10)
		put(s, "b", 20)
		time.Sleep(50 * time.Second)
		put(s, "a", 10)
		time.Sleep(50 * time.Second)
		put(s, "c", 30)
		if got := lying(s); got != "c a: 40" {
			t.Errorf("got %s", got)
		}
	})
}
