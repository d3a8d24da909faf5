package balancer

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"

	"github.com/rollcall-io/rollcall"
)

// versions returns so many instances of each version.
func versions(sizes map[string]int, changes ...func(*rollcall.Instance)) []*rollcall.Instance {
	var all []*rollcall.Instance
	for _, version := range slices.Sorted(maps.Keys(sizes)) {
		all = append(all, instances(len(all), len(all)+sizes[version], append(changes, ofVersion(version))...)...)
	}
	return all
}

func TestASplitSendsPercentagesOfCallsToVersions(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		split       map[string]float64
		sizes, dead map[string]int
		want        map[string]float64
	}{
		"one":                              {map[string]float64{"v2": 10}, map[string]int{"v1": 8, "v2": 3}, nil, map[string]float64{"v1": .9, "v2": .1}},
		"two, and others":                  {map[string]float64{"v2": 10, "v1": 60}, map[string]int{"v1": 8, "v2": 3, "v3": 1, "": 2}, nil, map[string]float64{"v1": .6, "v2": .1, "v3": .1, "": .2}},
		"all":                              {map[string]float64{"v2": 25, "v1": 75}, map[string]int{"v1": 1, "v2": 9}, nil, map[string]float64{"v1": .75, "v2": .25}},
		"more than all, others get none":   {map[string]float64{"v2": 25, "v1": 75}, map[string]int{"v1": 1, "v2": 9, "v3": 5}, nil, map[string]float64{"v1": .75, "v2": .25}},
		"none":                             {map[string]float64{"v2": 0}, map[string]int{"v1": 5, "v2": 5}, nil, map[string]float64{"v1": 1}},
		"a fraction":                       {map[string]float64{"v2": 0.5}, map[string]int{"v1": 5, "v2": 1}, nil, map[string]float64{"v1": .995, "v2": .005}},
		"one has nobody":                   {map[string]float64{"v2": 10, "v1": 60}, map[string]int{"v1": 8, "v3": 2}, nil, map[string]float64{"v1": 2. / 3, "v3": 1. / 3}},
		"one is dead":                      {map[string]float64{"v2": 10, "v1": 60}, map[string]int{"v1": 8, "v2": 3, "v3": 2}, map[string]int{"v1": 8}, map[string]float64{"v2": .25, "v3": .75}},
		"the others have nobody":           {map[string]float64{"v2": 10, "v1": 30}, map[string]int{"v1": 8, "v2": 2}, nil, map[string]float64{"v1": .75, "v2": .25}},
		"only others are left":             {map[string]float64{"v2": 40, "v1": 60}, map[string]int{"v3": 3, "v4": 1}, nil, map[string]float64{"v3": .75, "v4": .25}},
		"only who is to get none are left": {map[string]float64{"v2": 0, "v1": 100}, map[string]int{"v1": 2, "v2": 3, "v3": 1}, map[string]int{"v1": 2}, map[string]float64{"v2": .75, "v3": .25}},
	} {
		for _, how := range []Pick{WeightedRoundRobin, LeastRequest} {
			t.Run(fmt.Sprint(name, ", ", how), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					all := versions(row.sizes)
					c, s := connected(t, "", Config{Split: row.split, Pick: how}, all...)
					left := maps.Clone(row.dead)
					for _, i := range all {
						if left[i.Version] > 0 {
							left[i.Version]--
							c.become(i.Addr, connectivity.Idle)
						}
					}
					c.quiet()
					const calls = 100_000
					got := sum(s, c.picks(calls), versionOf)
					for version := range row.sizes {
						if share := float64(got[version]) / calls; math.Abs(share-row.want[version]) > 0.01 {
							t.Errorf("version %q has %.4f of the calls, want %.4f", version, share, row.want[version])
						}
					}
				})
			})
		}
	}
}

// The new version runs in one zone as yet: who splits by version goes there, and only for that.
func TestASplitComesBeforeZones(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := append(instances(0, 5, inZone("a"), ofVersion("v1")), instances(5, 10, inZone("b"), ofVersion("v1"))...)
		all = append(all, instances(10, 12, inZone("b"), ofVersion("v2"))...)
		c, s := connected(t, "a", Config{Split: map[string]float64{"v2": 20}}, all...)
		const calls = 50_000
		counts := c.picks(calls)
		for kind, n := range sum(s, counts, func(i *rollcall.Instance) string { return i.Version + " in " + i.Zone }) {
			want := map[string]float64{"v1 in a": .8, "v2 in b": .2}[kind]
			if share := float64(n) / calls; math.Abs(share-want) > 0.005 {
				t.Errorf("%s has %.3f of the calls, want %.3f", kind, share, want)
			}
		}
		if n := counts[addr(0)]; math.Abs(float64(n)-8000) > 80 {
			t.Errorf("one of five is called %d times for 80 %% of 50,000 calls", n)
		}
	})
}

func TestCallsWithOneHeaderValueGoToOneVersion(t *testing.T) {
	t.Parallel()
	for _, how := range []Pick{WeightedRoundRobin, LeastRequest} {
		synctest.Test(t, func(t *testing.T) {
			cfg := Config{Split: map[string]float64{"v2": 10, "v1": 60}, SplitHeader: "x-user", Pick: how}
			all := versions(map[string]int{"v1": 6, "v2": 3, "v3": 2})
			c, s := connected(t, "", cfg, all...)
			other := newChannel(t, "b", cfg) // somebody else, with another seed, in a zone
			other.seed = 77
			other.show(newService(all...).next())
			other.connect()
			other.quiet()

			version := func(addr string) string { // those that the split does not name are one for it
				if v := s.all[addr].Version; v == "v1" || v == "v2" {
					return v
				}
				return "another"
			}
			versions := map[string]string{}
			shares := map[string]float64{}
			called := map[string]int{}
			const values = 20_000
			for n := range values {
				user := fmt.Sprintf("user-%d", n)
				ctx := metadata.AppendToOutgoingContext(t.Context(), "x-user", user)
				made := c.pick(ctx)
				made.succeed()
				called[made.addr]++
				versions[user] = version(made.addr)
				shares[versions[user]] += 1. / values
			}
			for version, want := range map[string]float64{"v2": .1, "v1": .6, "another": .3} {
				if math.Abs(shares[version]-want) > 0.01 {
					t.Errorf("%s has %.3f of the header's values, want %.3f", version, shares[version], want)
				}
			}
			tolerance := 0.02
			if how == LeastRequest {
				tolerance = 0.2 // drawn by chance
			}
			for n, i := range all { // each version's calls are for all of its instances
				want := int(shares[version(i.Addr)]*values) / map[string]int{"v1": 6, "v2": 3, "v3": 2}[i.Version]
				if got := called[addr(n)]; math.Abs(float64(got-want)) > tolerance*float64(want) {
					t.Errorf("%s of %s is called %d times, want about %d", i.Addr, i.Version, got, want)
				}
			}
			check := func(c *channel, when string) {
				for n := range 500 {
					user := fmt.Sprintf("user-%d", n)
					for range 3 {
						made := c.pick(metadata.AppendToOutgoingContext(t.Context(), "x-user", user))
						made.succeed()
						if v := version(made.addr); v != versions[user] {
							t.Fatalf("%s: %s goes to %s, not to %s as before", when, user, v, versions[user])
						}
					}
				}
			}
			check(c, "again")
			check(other, "from another channel")
			s.change(addr(0), weighing(500))
			s.remove(addr(1), addr(8))
			s.put(instance(50, ofVersion("v2")), instance(51, ofVersion("v4")))
			c.show(s.next())
			check(c, "just after others came and went")
			c.connect()
			c.quiet()
			check(c, "after others came and went")
			c.become(addr(6), connectivity.Idle)
			check(c, "with one out of reach")

			counts := sum(s, c.picks(100_000), versionOf)
			for version, want := range map[string]int{"v2": 10_000, "v1": 60_000} {
				if math.Abs(float64(counts[version]-want)) > 1000 {
					t.Errorf("%s has %d of 100,000 calls without the header, want %d", version, counts[version], want)
				}
			}
		})
	}
}

// The version that a value stands for has nobody left: its calls are not refused.
func TestCallsWithAHeaderDoNotFailForWantOfTheirVersion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Split: map[string]float64{"v2": 50}, SplitHeader: "x-user"}
		c, s := connected(t, "", cfg, versions(map[string]int{"v1": 2, "v2": 1})...)
		user := func(n int) context.Context {
			return metadata.AppendToOutgoingContext(t.Context(), "x-user", fmt.Sprint(n))
		}
		c.become(addr(2), connectivity.Idle)
		for n := range 100 {
			if made := c.pick(user(n)); s.all[made.addr].Version != "v1" {
				t.Fatalf("call %d goes to %s", n, made.addr)
			}
		}
		c.quiet()
		for n := range 100 {
			c.pick(user(n))
		}
		s.remove(addr(2))
		c.show(s.next())
		c.quiet()
		for n := range 100 {
			c.pick(user(n))
		}
	})
}
