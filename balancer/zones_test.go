package balancer

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/connectivity"

	"github.com/rollcall-io/rollcall"
)

// zoned returns so many instances of each zone.
func zoned(sizes map[string]int) []*rollcall.Instance {
	var all []*rollcall.Instance
	for _, zone := range slices.Sorted(maps.Keys(sizes)) {
		all = append(all, instances(len(all), len(all)+sizes[zone], inZone(zone))...)
	}
	return all
}

// The callers of all zones are taken to make equal parts of the calls. What a zone cannot take of the calls of its own goes to where
// more capacity is than is called from there.
func TestCallsStayInTheCallersZoneAsFarAsItsShareGoes(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		sizes, dead map[string]int
		want        map[string]float64
	}{
		"healthy":              {map[string]int{"a": 10, "b": 10, "c": 10}, nil, map[string]float64{"a": 1}},
		"larger than others":   {map[string]int{"a": 20, "b": 3, "c": 10}, nil, map[string]float64{"a": 1}},
		"half dead":            {map[string]int{"a": 10, "b": 10, "c": 10}, map[string]int{"a": 5}, map[string]float64{"a": 0.6, "b": 0.2, "c": 0.2}},
		"half dead, of two":    {map[string]int{"a": 10, "b": 10}, map[string]int{"a": 5}, map[string]float64{"a": 2. / 3, "b": 1. / 3}},
		"dead":                 {map[string]int{"a": 10, "b": 10, "c": 10}, map[string]int{"a": 10}, map[string]float64{"b": 0.5, "c": 0.5}},
		"all half dead":        {map[string]int{"a": 10, "b": 10, "c": 10}, map[string]int{"a": 5, "b": 5, "c": 5}, map[string]float64{"a": 1}},
		"another dead":         {map[string]int{"a": 10, "b": 10, "c": 10}, map[string]int{"c": 10}, map[string]float64{"a": 1}},
		"thin":                 {map[string]int{"a": 2, "b": 9, "c": 9}, nil, map[string]float64{"a": 0.3, "b": 0.35, "c": 0.35}},
		"thin, as another":     {map[string]int{"a": 3, "b": 3, "c": 6}, nil, map[string]float64{"a": 0.75, "c": 0.25}},
		"without instances":    {map[string]int{"b": 10, "c": 20}, nil, map[string]float64{"b": 1. / 3, "c": 2. / 3}},
		"the only one":         {map[string]int{"a": 3}, nil, map[string]float64{"a": 1}},
		"none is a zone's":     {map[string]int{"": 3}, nil, map[string]float64{"": 1}},
		"some are of no zone":  {map[string]int{"a": 8, "b": 8, "": 4}, nil, map[string]float64{"a": 0.8, "": 0.2}},
		"most are of no zone":  {map[string]int{"a": 2, "b": 2, "": 16}, nil, map[string]float64{"a": 0.2, "": 0.8}},
		"dead, and some of no": {map[string]int{"a": 2, "": 2}, map[string]int{"a": 2}, map[string]float64{"": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				all := zoned(row.sizes)
				c, s := connected(t, "a", Config{}, all...)
				left := maps.Clone(row.dead)
				for _, i := range all {
					if left[i.Zone] > 0 {
						left[i.Zone]--
						c.become(i.Addr, connectivity.Idle)
					}
				}
				c.quiet()
				const calls = 30_000
				counts := c.picks(calls)
				for zone, n := range sum(s, counts, zoneOf) {
					if math.Abs(float64(n)/calls-row.want[zone]) > 0.005 {
						t.Errorf("zone %q has %.3f of the calls, want %.3f", zone, float64(n)/calls, row.want[zone])
					}
				}
				for _, i := range all {
					zone := row.sizes[i.Zone] - row.dead[i.Zone]
					want := row.want[i.Zone] * calls / float64(zone)
					if n := counts[i.Addr]; n > 0 && math.Abs(float64(n)-want) > 0.02*want+2 {
						t.Errorf("%s in zone %q is called %d times, want %.0f like its neighbours", i.Addr, i.Zone, n, want)
					}
				}
			})
		})
	}
}

// Its callers make calls from the moment on that it has instances, whether or not these can be called yet.
func TestAZoneCountsFromItsFirstInstanceToItsLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := connected(t, "a", Config{}, zoned(map[string]int{"a": 4, "b": 6, "c": 6})...)
		local := func(want float64, when string) {
			t.Helper()
			c.show(s.next())
			c.quiet()
			if got := sum(s, c.shares(), zoneOf)["a"]; math.Abs(got-want) > 1e-6 {
				t.Errorf("%s the caller's zone has %.3f of the calls, want %.3f", when, got, want)
			}
		}
		local(0.75, "with three zones")
		s.put(instance(100, inZone("d")))
		local(1, "with a fourth, not connected to yet,")
		s.remove(addr(100))
		local(0.75, "with three zones again")
	})
}

func TestZonesDoNotCountForCallersWithoutAndWhereSwitchedOff(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		zone string
		cfg  Config
	}{
		"no zone":      {"", Config{}},
		"switched off": {"a", Config{IgnoreZones: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, _ := connected(t, row.zone, row.cfg, zoned(map[string]int{"a": 10, "b": 5, "": 5})...)
				for addr, n := range c.picks(2000) {
					if n != 100 {
						t.Errorf("%s is called %d times of 2000, want 100", addr, n)
					}
				}
			})
		})
	}
}

// Callers of every zone with instances, and of none and of one without, all together. Some instances do not answer, some have no
// zone, weights differ: in the end all that answer have the same to do for their weight.
func TestNoZoneIsOverloaded(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, 60} {
		synctest.Test(t, func(t *testing.T) {
			worst := 0.0
			for seed := range uint64(30) {
				r := rand.New(rand.NewPCG(seed, 7))
				sizes := map[string]int{}
				for _, zone := range []string{"a", "b", "c", "d", "e"}[:1+r.IntN(5)] {
					sizes[zone] = 1 + r.IntN(40)
				}
				if r.IntN(2) == 0 {
					sizes[""] = 1 + r.IntN(40)
				}
				all := zoned(sizes)
				dead := map[string]bool{}
				for _, i := range all {
					i.Weight = 50 + r.IntN(100)
					dead[i.Addr] = size == 1000 && r.IntN(3) == 0
				}
				callers := slices.DeleteFunc(slices.Sorted(maps.Keys(sizes)), func(zone string) bool { return zone == "" })
				worst = max(worst, overload(t, all, dead, Config{Subset: Subset{Size: size}}, callers))
				callers = append(callers, "elsewhere")
				if size == 1000 { // what a caller without a zone takes for its subset is in one zone more than in another by chance
					callers = append(callers, "")
				}
				worst = max(worst, overload(t, all, dead, Config{Subset: Subset{Size: size}}, callers))
			}
			t.Logf("subsets of %d: the zone with most to do has %.3f times the mean", size, worst)
			if worst > 1.05 {
				t.Errorf("subsets of %d: a zone has %.3f times the mean load", size, worst)
			}
		})
	}
}

// overload returns how much more a zone of instances that answer has to do for its weight than all have in the mean, with callers from
// these zones that call equally often.
func overload(t *testing.T, all []*rollcall.Instance, dead map[string]bool, cfg Config, callers []string) float64 {
	t.Helper()
	load, weight, total := map[string]float64{}, map[string]float64{}, 0.0
	s := newService(all...)
	view := s.next()
	for _, zone := range callers {
		c := newChannel(t, zone, cfg)
		c.show(view)
		for _, addr := range c.addresses() {
			if dead[addr] {
				c.become(addr, connectivity.TransientFailure)
			} else {
				c.become(addr, connectivity.Ready)
			}
		}
		c.quiet()
		if _, ok := tableOf(c.picker()); !ok {
			return 0 // all are dead
		}
		for zone, share := range sum(s, c.shares(), zoneOf) {
			load[zone] += share / float64(len(callers))
		}
	}
	for _, i := range all {
		if !dead[i.Addr] {
			weight[i.Zone] += float64(i.Weight)
			total += float64(i.Weight)
		}
	}
	worst := 0.0
	for zone, l := range load {
		worst = max(worst, l/(weight[zone]/total))
	}
	return worst
}
