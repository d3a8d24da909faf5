package check

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawServers returns names as servers have them: much alike.
func drawServers(rt *rapid.T, label string, least, most int) []string {
	n := rapid.IntRange(least, most).Draw(rt, label)
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("10.0.0.%d:7051", i+1))
	}
	return names
}

func drawPlaces(rt *rapid.T) []place {
	service := rapid.StringMatching(`[a-z]{1,8}`).Draw(rt, "service")
	first := rapid.IntRange(0, 1<<16).Draw(rt, "first")
	var places []place
	for i := range 500 {
		places = append(places, place{service, fmt.Sprintf("10.%d.%d.%d:8080", (first+i)>>16, (first+i)>>8&255, (first+i)&255)})
	}
	return places
}

func TestAServerThatComesOrGoesMovesOnlyWhatItGetsOrHad(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		servers := drawServers(rt, "servers", 2, 12)
		gone := rapid.SampledFrom(servers).Draw(rt, "gone")
		all := newShare(servers)
		rest := newShare(slices.DeleteFunc(slices.Clone(servers), func(s string) bool { return s == gone }))
		for _, p := range drawPlaces(rt) {
			if before, after := all.owner(p), rest.owner(p); before != gone && before != after {
				rt.Fatalf("%v moved from %s to %s because %s went", p, before, after, gone)
			}
		}
	})
}

func TestEverybodyWhoKnowsTheSameServersSharesAlike(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		servers := drawServers(rt, "servers", 1, 12)
		one, other := newShare(servers), newShare(rapid.Permutation(servers).Draw(rt, "order"))
		for _, p := range drawPlaces(rt) {
			if one.owner(p) != other.owner(p) {
				rt.Fatalf("%v is checked by %s and by %s", p, one.owner(p), other.owner(p))
			}
		}
	})
}

// Of 500 instances each server has its part but for what chance leaves: five times the standard deviation.
func TestTheChecksAreSharedEvenly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		servers := drawServers(rt, "servers", 1, 8)
		s, has := newShare(servers), map[string]int{}
		places := drawPlaces(rt)
		for _, p := range places {
			has[s.owner(p)]++
		}
		mean := float64(len(places)) / float64(len(servers))
		for _, name := range servers {
			if off := float64(has[name]) - mean; off*off > 25*mean {
				rt.Fatalf("%s has %d of %d instances, of %d servers: %v", name, has[name], len(places), len(servers), has)
			}
		}
	})
}

func TestNobodyOwnsWhereThereIsNobody(t *testing.T) {
	if owner := newShare(nil).owner(place{"orders", "a"}); owner != "" {
		t.Errorf("%s owns", owner)
	}
}
