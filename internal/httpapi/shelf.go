package httpapi

import (
	"container/list"
	"sync"
	"time"
)

// shelf keeps what was made for one request for those that ask for the same. What was not asked for longest gives way when it holds too
// many, or too many bytes; what nobody has asked for in a while goes when something else comes.
type shelf[K comparable, V any] struct {
	most, mostBytes int
	idle            time.Duration

	mu    sync.Mutex
	bytes int
	order *list.List // of *kept, what was asked for last first
	of    map[K]*list.Element
}

type kept[K comparable, V any] struct {
	key   K
	value *V
	bytes int
	asked time.Time
}

func newShelf[K comparable, V any](most, mostBytes int, idle time.Duration) *shelf[K, V] {
	return &shelf[K, V]{most: most, mostBytes: mostBytes, idle: idle, order: list.New(), of: map[K]*list.Element{}}
}

// get returns what lies under a key, which is new if there was nothing.
func (s *shelf[K, V]) get(key K, make func() *V) *V {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if e := s.of[key]; e != nil {
		s.order.MoveToFront(e)
		k := e.Value.(*kept[K, V])
		k.asked = now
		return k.value
	}
	k := &kept[K, V]{key: key, value: make(), asked: now}
	s.of[key] = s.order.PushFront(k)
	s.trimLocked(now.Add(-s.idle))
	return k.value
}

// weigh says of how many bytes it is what lies under a key, if that is still value.
func (s *shelf[K, V]) weigh(key K, value *V, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.of[key]
	if e == nil || e.Value.(*kept[K, V]).value != value {
		return
	}
	k := e.Value.(*kept[K, V])
	s.bytes += bytes - k.bytes
	k.bytes = bytes
	s.trimLocked(time.Time{})
}

// trimLocked removes what is too much, and what was not asked for since.
func (s *shelf[K, V]) trimLocked(since time.Time) {
	for e := s.order.Back(); e != nil; e = s.order.Back() {
		k := e.Value.(*kept[K, V])
		if s.order.Len() <= s.most && s.bytes <= s.mostBytes && !k.asked.Before(since) {
			return
		}
		s.order.Remove(e)
		delete(s.of, k.key)
		s.bytes -= k.bytes
	}
}

// clear removes everything.
func (s *shelf[K, V]) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order.Init()
	clear(s.of)
	s.bytes = 0
}
