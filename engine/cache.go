package engine

import (
	"container/list"
	"sync"
)

// cache keeps the most recently used device-side results, up to a limit of bytes but always the last one. Its owner has
// the device; only len may be called by others.
type cache[K comparable, V cached] struct {
	limit   int64 // bytes
	free    func(V)
	mu      sync.Mutex // guards what follows
	entries map[K]*list.Element
	order   *list.List // most recent first
	bytes   int64
}

type cached interface{ bytes() int64 }

type cacheEntry[K comparable, V cached] struct {
	key   K
	value V
}

func newCache[K comparable, V cached](limit int64, free func(V)) *cache[K, V] {
	return &cache[K, V]{limit: limit, free: free, entries: map[K]*list.Element{}, order: list.New()}
}

// get returns the value of key and makes it the most recent.
func (c *cache[K, V]) get(key K) (value V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	element, ok := c.entries[key]
	if !ok {
		return value, false
	}
	c.order.MoveToFront(element)
	return element.Value.(cacheEntry[K, V]).value, true
}

// put adds a value under a key that is not there, and frees the least recent others beyond the limit.
func (c *cache[K, V]) put(key K, value V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries[key] = c.order.PushFront(cacheEntry[K, V]{key, value})
	c.bytes += value.bytes()
	for c.bytes > c.limit && c.order.Len() > 1 {
		c.drop(c.order.Back())
	}
}

// remove frees every value that gone chooses.
func (c *cache[K, V]) remove(gone func(V) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for element := c.order.Front(); element != nil; {
		next := element.Next()
		if gone(element.Value.(cacheEntry[K, V]).value) {
			c.drop(element)
		}
		element = next
	}
}

func (c *cache[K, V]) clear() { c.remove(func(V) bool { return true }) }

func (c *cache[K, V]) drop(element *list.Element) {
	entry := c.order.Remove(element).(cacheEntry[K, V])
	delete(c.entries, entry.key)
	c.bytes -= entry.value.bytes()
	c.free(entry.value)
}

func (c *cache[K, V]) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.Len()
}
