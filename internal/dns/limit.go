package dns

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"
)

// limit bounds the answers to each network, in the same memory however many networks there are. A network has two cells, which it shares
// with those that chance has put there, and is refused only if both are empty.
type limit struct {
	pause int64 // nanoseconds between answers
	began time.Time
	seed  maphash.Seed
	cells []atomic.Int64 // when the answers that went out are paid for, in nanoseconds since began
	slips atomic.Uint64

	everybody bool // senders on this machine, too, which nobody elsewhere can forge
}

const (
	limitCells = 1 << 15
	burst      = int64(time.Second) // of answers that may go out at once
)

// newLimit makes a limit; nil is none.
func newLimit(rate int) *limit {
	if rate < 0 {
		return nil
	}
	return &limit{pause: int64(time.Second) / int64(rate), began: time.Now(), seed: maphash.MakeSeed(), cells: make([]atomic.Int64, limitCells)}
}

// network is what is limited as one: it is an attacker's victim, or has one owner.
func network(ip netip.Addr) netip.Addr {
	ip = ip.Unmap()
	bits := 56
	if ip.Is4() {
		bits = 24
	}
	p, err := ip.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr()
}

// allows reports whether one more answer may go out.
func (l *limit) allows(ip netip.Addr) bool {
	if l == nil || ip.Unmap().IsLoopback() && !l.everybody {
		return true
	}
	a := network(ip).As16()
	h := maphash.Bytes(l.seed, a[:])
	now := int64(time.Since(l.began))
	first := l.take(&l.cells[h%limitCells], now)
	second := l.take(&l.cells[h>>32%limitCells], now)
	return first || second
}

func (l *limit) take(cell *atomic.Int64, now int64) bool {
	for {
		paid := cell.Load()
		next := max(paid, now) + l.pause
		if next > now+burst {
			return false
		}
		if cell.CompareAndSwap(paid, next) {
			return true
		}
	}
}

// slips reports whether this refused answer goes out as an empty one: every second does.
func (l *limit) slip() bool { return l.slips.Add(1)%2 == 0 }
