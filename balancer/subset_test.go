package balancer

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/connectivity"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/endpoints"
)

func TestMoreThanAHundredInstancesAreCalledThroughAHundred(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		cfg        Config
		size, want int
	}{
		"100":                    {Config{}, 100, 100},
		"101":                    {Config{}, 101, 100},
		"1000":                   {Config{}, 1000, 100},
		"1000, no subset":        {Config{Subset: Subset{Disabled: true}}, 1000, 1000},
		"1000, by 7":             {Config{Subset: Subset{Size: 7}}, 1000, 7},
		"3, by 1":                {Config{Subset: Subset{Size: 1}}, 3, 1},
		"1000, a version of few": {Config{Split: map[string]float64{"v2": 10}}, 1000, 100},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, _ := connected(t, "", row.cfg, instances(0, row.size)...)
				if got := len(c.addresses()); got != row.want {
					t.Errorf("there are %d connections, want %d", got, row.want)
				}
				if got := len(c.picks(5000)); got != row.want {
					t.Errorf("%d are called, want %d", got, row.want)
				}
				if got := len(c.made); got != row.want {
					t.Errorf("%d have been connected to, want %d", got, row.want)
				}
			})
		})
	}
}

func TestEachVersionOfASplitHasASubsetOfItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Split: map[string]float64{"v2": 1}, Subset: Subset{Size: 20}}
		c, s := connected(t, "", cfg, versions(map[string]int{"v1": 500, "v2": 30, "v3": 5})...)
		counts := map[string]int{}
		for _, addr := range c.addresses() {
			counts[s.all[addr].Version]++
		}
		if counts["v2"] != 20 || counts["v1"]+counts["v3"] != 20 {
			t.Errorf("connections by version: %v, want 20 of v2 and 20 of others", counts)
		}
	})
}

// However the instances came: all at once, one after another, with others that are gone again.
func TestASubsetDependsOnNothingButTheSeedAndTheInstances(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, zone := range []string{"", "a"} {
			all := func() []*rollcall.Instance {
				return append(instances(0, 150, inZone("a")), instances(150, 300, inZone("b"))...)
			}
			c, _ := connected(t, zone, Config{}, all()...)
			want := c.addresses()
			for seed := range uint64(5) {
				r := rand.New(rand.NewPCG(seed, 1))
				mixed := all()
				r.Shuffle(len(mixed), func(a, b int) { mixed[a], mixed[b] = mixed[b], mixed[a] })
				again, s := newChannel(t, zone, Config{}), newService()
				for batch := range slices.Chunk(mixed, 1+r.IntN(80)) {
					s.put(instance(1000 + r.IntN(100)))
					s.put(batch...)
					again.show(s.next())
					if r.IntN(2) == 0 {
						again.connect()
					}
				}
				for n := range 100 {
					s.remove(addr(1000 + n))
				}
				again.show(s.next())
				if !slices.Equal(again.addresses(), want) {
					t.Errorf("zone %q, order %d: connected to %v, not to %v", zone, seed, again.addresses(), want)
				}
			}
			other := newChannel(t, zone, Config{})
			other.seed = 5
			other.show(newService(all()...).next())
			if slices.Equal(other.addresses(), want) {
				t.Error("another process connects to the same")
			}
		}
	})
}

// moved returns how many of a channel's connections are others after each of some joins and leaves: the most at once, and all in all.
func moved(t *testing.T, c *channel, s *service, r *rand.Rand, zones []string, steps int) (most, total int) {
	t.Helper()
	ids := make([]int, 0, len(s.all))
	for n := range len(s.all) {
		ids = append(ids, n)
	}
	before := c.addresses()
	for n := range steps {
		if r.IntN(2) == 0 {
			s.put(instance(1000+n, inZone(zones[r.IntN(len(zones))])))
			ids = append(ids, 1000+n)
		} else {
			at := r.IntN(len(ids))
			s.remove(addr(ids[at]))
			ids = slices.Delete(ids, at, at+1)
		}
		c.show(s.next())
		c.connect()
		after := c.addresses()
		newly := 0
		for _, addr := range after {
			if _, was := slices.BinarySearch(before, addr); !was {
				newly++
			}
		}
		most, total = max(most, newly, newly+len(before)-len(after)), total+newly
		before = after
	}
	return most, total
}

func TestAnInstanceThatJoinsOrLeavesMovesOneConnectionAtMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := connected(t, "", Config{}, instances(0, 400)...)
		const steps = 1000
		most, total := moved(t, c, s, rand.New(rand.NewPCG(1, 1)), []string{""}, steps)
		t.Logf("%d joins and leaves made %d new connections, %d at once", steps, total, most)
		if most > 1 {
			t.Errorf("a join or leave moved %d connections", most)
		}
		if total < steps/10 || total > steps/2 { // a quarter of the instances are the channel's
			t.Errorf("%d joins and leaves made %d new connections", steps, total)
		}
	})
}

func TestWithZonesAnInstanceThatJoinsOrLeavesMovesAHandful(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		most, total, steps := 0, 0, 0
		for seed := range uint64(20) {
			r := rand.New(rand.NewPCG(seed, 2))
			zones := []string{"a", "b", "c", "d", "e"}[:2+r.IntN(4)]
			s := newService()
			for n := range 150 + r.IntN(300) {
				zone := min(int(r.ExpFloat64()*2), len(zones)-1) // of uneven size, the caller's own thin or not
				s.put(instance(n, inZone(zones[zone])))
			}
			c := newChannel(t, zones[r.IntN(len(zones))], Config{})
			c.show(s.next())
			c.connect()
			m, n := moved(t, c, s, r, zones, 100)
			most, total, steps = max(most, m), total+n, steps+100
		}
		t.Logf("%d joins and leaves made %d new connections, %d at once", steps, total, most)
		if most > 5 {
			t.Errorf("a join or leave moved %d connections", most)
		}
		if total > steps {
			t.Errorf("%d joins and leaves made %d new connections", steps, total)
		}
	})
}

func TestWhoFailsInASubsetIsReplacedUntilItIsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const size = 10
		c, s := connected(t, "", Config{Subset: Subset{Size: size}}, instances(0, 100)...)
		first := c.addresses()
		dead := map[string]bool{}
		die := func(addr string) {
			dead[addr] = true
			c.become(addr, connectivity.Idle)
			c.become(addr, connectivity.Connecting)
			c.become(addr, connectivity.TransientFailure)
		}
		reconnect := func() {
			for _, addr := range c.addresses() {
				if sc := c.conn(addr); !dead[addr] && sc != nil && sc.state != connectivity.Ready {
					sc.become(connectivity.Ready)
				}
			}
			c.quiet()
		}
		for n := range 3 {
			die(first[n])
			if got := len(c.addresses()); got != size+n+1 {
				t.Fatalf("with %d dead there are %d connections, want %d", n+1, got, size+n+1)
			}
		}
		reconnect()
		if got := len(c.picks(1000)); got != size {
			t.Errorf("with 3 dead %d are called, want %d as before", got, size)
		}
		for range 5 {
			for _, addr := range c.addresses() {
				if !dead[addr] {
					die(addr)
				}
			}
		}
		if got := len(c.addresses()); got != 2*size {
			t.Errorf("with all dead there are %d connections, want %d at most", got, 2*size)
		}
		clear(dead)
		for range 3 {
			reconnect()
		}
		if got := c.addresses(); !slices.Equal(got, first) {
			t.Errorf("when all are back %v are connected, want %v as before", got, first)
		}
		s.remove(first[0])
		c.show(s.next())
		if got := c.addresses(); len(got) != size {
			t.Errorf("%d are connected after one left, want %d", len(got), size)
		}
	})
}

// Less is wanted of a zone where one does not answer. If that made the channel forget who, the next change would have it try again.
func TestASubsetOfSeveralZonesDoesNotForgetWhoFailed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := zoned(map[string]int{"a": 60, "b": 60})
		c, s := connected(t, "elsewhere", Config{Subset: Subset{Size: 20}}, all...)
		var last *member // of those of zone a that are wanted
		for _, addr := range c.addresses() {
			if m := c.members[addr]; m.inst.Zone == "a" && (last == nil || compareRanks(last, m) < 0) {
				last = m
			}
		}
		for n, i := range all {
			if sc := c.conn(last.key); sc != nil && sc.state != connectivity.TransientFailure {
				sc.become(connectivity.TransientFailure)
			}
			c.connect(last.key)
			s.change(i.ID, func(i *rollcall.Instance) { i.Metadata = map[string]string{"n": addr(n)} })
			c.show(s.next())
		}
		for addr, n := range c.made {
			if n > 1 {
				t.Errorf("%d connections were made to %s, though nothing happened to it but that it failed once or never", n, addr)
			}
		}
		if n := len(c.addresses()); n > 25 {
			t.Errorf("there are %d connections for a subset of 20", n)
		}
	})
}

// Each client takes its own hundred of a thousand. Those who are taken by more clients than others have more to do.
func TestSubsetsOfManyClientsAreEven(t *testing.T) {
	t.Parallel()
	const size = 1000
	clients := 1000
	if testing.Short() {
		clients = 200
	}
	reducer := endpoints.NewReducer("svc", "", nil)
	view := newService(instances(0, size)...).next()
	state, _ := reducer.Apply(view.Updates)
	taken := map[string]float64{}
	for seed := range uint64(clients) {
		c := newChannel(t, "", Config{})
		c.seed = scramble(seed)
		c.update(state.State())
		for addr := range c.conns {
			taken[addr]++
		}
		c.Close()
	}
	least, most, squares := math.Inf(1), 0.0, 0.0
	mean := float64(clients*rollcall.DefaultSubsetSize) / size
	chance := math.Sqrt((1 - rollcall.DefaultSubsetSize/float64(size)) / mean) // what drawing by lot comes to
	for n := range size {
		load := taken[addr(n)]
		least, most = min(least, load), max(most, load)
		squares += (load - mean) * (load - mean)
	}
	cv := math.Sqrt(squares/size) / mean
	t.Logf("instances are called by %.0f to %.0f clients, %.0f in the mean; coefficient of variation %.3f, by lot %.3f", least, most, mean, cv, chance)
	if cv > 1.15*chance || most > (1+5*chance)*mean || least < (1-5*chance)*mean {
		t.Errorf("instances are called by %.0f to %.0f clients, %.0f in the mean; coefficient of variation %.3f", least, most, mean, cv)
	}
}
