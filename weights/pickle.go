package weights

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// A pickle is a program for a stack machine. This machine builds plain values only: it resolves no name and runs no
// code; what torch's names mean is decided by the host (torchzip.go). Protocols 2 to 5, binary opcodes.
//
//	bytes ── step ──► stack ── STOP ──► one value:
//	nil bool int64 float64 string []byte tuple *list *dict global opaque, and what the host returns
//
// Values are shared by reference, so a tree may contain itself: nothing here, or in callers, walks it blindly.

// Every value costs at least one byte of input and less than 100 bytes of memory.
const (
	maxPickle       = 64 << 20
	maxPickleValues = 4 << 20
)

type (
	tuple  []any
	list   struct{ items []any }
	global string // module.name, not looked up
	opaque string // an object that was not made, by its class
	entry  struct{ key, value any }
	dict   struct{ entries []entry } // in order; of equal keys the last counts
)

// get returns nil where the key is absent.
func (d *dict) get(key string) any {
	for _, e := range slices.Backward(d.entries) {
		if e.key == key {
			return e.value
		}
	}
	return nil
}

// A pickleHost gives meaning to the two openings of the format.
type pickleHost interface {
	// persistent resolves an object that is stored outside the pickle.
	persistent(id tuple) (any, error)
	// call is a class or function applied to arguments.
	call(callee global, args tuple) (any, error)
}

// A machine keeps its first error; from then on reads give zeros and run stops.
type machine struct {
	in     []byte
	at     int
	stack  []any
	marks  []int // stack heights
	memo   map[uint64]any
	values int
	host   pickleHost
	err    error
}

func unpickle(in []byte, host pickleHost) (any, error) {
	if len(in) > maxPickle {
		return nil, fmt.Errorf("pickle: %d bytes, want at most %d", len(in), maxPickle)
	}
	m := machine{in: in, memo: map[uint64]any{}, host: host}
	for m.err == nil {
		op := byte(m.uint(1))
		if op == '.' && m.err == nil {
			result := m.pop()
			return result, m.err
		}
		if m.err == nil && !m.constant(op) && !m.container(op) && !m.object(op) {
			m.fail("opcode %#x is not supported", op)
		}
	}
	return nil, fmt.Errorf("pickle: byte %d: %w", m.at, m.err)
}

// constant handles the opcodes that push a scalar or a string.
func (m *machine) constant(op byte) bool {
	switch op {
	case 'N': // NONE
		m.push(nil)
	case 0x88, 0x89: // NEWTRUE, NEWFALSE
		m.push(op == 0x88)
	case 'K': // BININT1
		m.push(int64(m.uint(1)))
	case 'M': // BININT2
		m.push(int64(m.uint(2)))
	case 'J': // BININT
		m.push(int64(int32(m.uint(4))))
	case 0x8a: // LONG1
		m.push(m.long(m.bytes(m.uint(1))))
	case 'G': // BINFLOAT, big-endian
		m.push(math.Float64frombits(bits.ReverseBytes64(m.uint(8))))
	case 'X', 'T': // BINUNICODE, BINSTRING
		m.push(string(m.bytes(m.uint(4))))
	case 0x8c, 'U': // SHORT_BINUNICODE, SHORT_BINSTRING
		m.push(string(m.bytes(m.uint(1))))
	case 0x8d: // BINUNICODE8
		m.push(string(m.bytes(m.uint(8))))
	case 'B': // BINBYTES
		m.push(m.bytes(m.uint(4)))
	case 'C': // SHORT_BINBYTES
		m.push(m.bytes(m.uint(1)))
	default:
		return false
	}
	return true
}

// container handles marks, tuples, lists, sets (as lists) and dicts.
func (m *machine) container(op byte) bool {
	switch op {
	case '(': // MARK
		m.spend()
		m.marks = append(m.marks, len(m.stack))
	case ')': // EMPTY_TUPLE
		m.push(tuple{})
	case 't', 0x91: // TUPLE, FROZENSET
		m.push(tuple(m.popMark()))
	case 0x85, 0x86, 0x87: // TUPLE1, TUPLE2, TUPLE3
		m.push(tuple(m.popN(int(op) - 0x84)))
	case ']', 0x8f: // EMPTY_LIST, EMPTY_SET
		m.push(&list{})
	case 'l': // LIST
		m.push(&list{m.popMark()})
	case 'a': // APPEND
		m.append(m.popN(1))
	case 'e', 0x90: // APPENDS, ADDITEMS
		m.append(m.popMark())
	case '}': // EMPTY_DICT
		m.push(&dict{})
	case 'd': // DICT
		items := m.popMark()
		m.push(&dict{})
		m.setItems(items)
	case 's': // SETITEM
		m.setItems(m.popN(2))
	case 'u': // SETITEMS
		m.setItems(m.popMark())
	default:
		return false
	}
	return true
}

// object handles names, calls, the memo and bookkeeping.
func (m *machine) object(op byte) bool {
	switch op {
	case 0x80: // PROTO
		if version := m.uint(1); version > 5 {
			m.fail("protocol %d, want at most 5", version)
		}
	case 0x95: // FRAME: a hint for buffering
		m.uint(8)
	case 'c': // GLOBAL
		m.push(global(m.line() + "." + m.line()))
	case 0x93: // STACK_GLOBAL
		m.stackGlobal(m.popN(2))
	case 'Q': // BINPERSID
		m.persistent(m.pop())
	case 'R', 0x81: // REDUCE, NEWOBJ
		pair := m.popN(2)
		m.call(pair[0], pair[1])
	case 'b': // BUILD: attributes of an object, which plain values have none of
		m.pop()
	case '0': // POP
		m.pop()
	case 'q': // BINPUT
		m.remember(m.uint(1))
	case 'r': // LONG_BINPUT
		m.remember(m.uint(4))
	case 0x94: // MEMOIZE
		m.remember(uint64(len(m.memo)))
	case 'h': // BINGET
		m.recall(m.uint(1))
	case 'j': // LONG_BINGET
		m.recall(m.uint(4))
	default:
		return false
	}
	return true
}

func (m *machine) fail(format string, args ...any) {
	if m.err == nil {
		m.err = fmt.Errorf(format, args...)
	}
}

// bytes returns the next n bytes of the input, aliasing it; nil past its end.
func (m *machine) bytes(n uint64) []byte {
	if n > uint64(len(m.in)-m.at) {
		m.fail("want %d bytes, got %d; the file is cut short", n, len(m.in)-m.at)
		return nil
	}
	m.at += int(n)
	return m.in[m.at-int(n) : m.at : m.at]
}

// uint reads n ≤ 8 bytes, little-endian.
func (m *machine) uint(n int) uint64 {
	var word [8]byte
	copy(word[:], m.bytes(uint64(n)))
	return binary.LittleEndian.Uint64(word[:])
}

// long is a signed little-endian integer of any width; one beyond 64 bits is opaque.
func (m *machine) long(digits []byte) any {
	if len(digits) > 8 {
		return opaque("int")
	}
	var word [8]byte
	if n := len(digits); n > 0 && digits[n-1]&0x80 != 0 {
		word = [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff} // sign extension
	}
	copy(word[:], digits)
	return int64(binary.LittleEndian.Uint64(word[:]))
}

func (m *machine) line() string {
	end := bytes.IndexByte(m.in[m.at:], '\n')
	if end < 0 {
		m.fail("a name has no end; the file is cut short")
		return ""
	}
	line := m.bytes(uint64(end) + 1)
	return string(line[:end])
}

// spend bounds what small opcodes can make the machine remember.
func (m *machine) spend() {
	if m.values++; m.values > maxPickleValues {
		m.fail("more than %d values", maxPickleValues)
	}
}

func (m *machine) push(v any) {
	m.spend()
	m.stack = append(m.stack, v)
}

func (m *machine) pop() any { return m.popN(1)[0] }

// popN takes n values from above the topmost mark. It returns n nils where there are fewer.
func (m *machine) popN(n int) []any {
	floor := 0
	if len(m.marks) > 0 {
		floor = m.marks[len(m.marks)-1]
	}
	if len(m.stack)-floor < n {
		m.fail("want %d values on the stack, got %d", n, len(m.stack)-floor)
		return make([]any, n)
	}
	return m.cut(len(m.stack) - n)
}

// popMark takes everything above the topmost mark, and the mark.
func (m *machine) popMark() []any {
	if len(m.marks) == 0 {
		m.fail("no mark on the stack")
		return nil
	}
	from := m.marks[len(m.marks)-1]
	m.marks = m.marks[:len(m.marks)-1]
	return m.cut(from)
}

func (m *machine) cut(from int) []any {
	values := slices.Clone(m.stack[from:])
	clear(m.stack[from:]) // no longer held
	m.stack = m.stack[:from]
	return values
}

// top is the value that the next opcode works on, left on the stack.
func (m *machine) top() any {
	if len(m.stack) == 0 {
		m.fail("the stack is empty")
		return nil
	}
	return m.stack[len(m.stack)-1]
}

func (m *machine) append(items []any) {
	switch target := m.top().(type) {
	case *list:
		target.items = append(target.items, items...)
	case opaque: // a subclass of list
	default:
		m.fail("append to %T, want a list", target)
	}
}

func (m *machine) setItems(items []any) {
	if len(items)%2 != 0 {
		m.fail("a key without a value")
		return
	}
	switch target := m.top().(type) {
	case *dict:
		for i := 0; i < len(items); i += 2 {
			if hashable(items[i]) {
				target.entries = append(target.entries, entry{items[i], items[i+1]})
			}
		}
	case opaque: // a subclass of dict
	default:
		m.fail("set an item of %T, want a dict", target)
	}
}

// hashable keys can be compared; Python's tuples can be keys too, but name no tensor.
func hashable(key any) bool {
	switch key.(type) {
	case string, int64, float64, bool:
		return true
	}
	return false
}

func (m *machine) remember(index uint64) {
	m.spend()
	m.memo[index] = m.top()
}

func (m *machine) recall(index uint64) {
	value, known := m.memo[index]
	if !known {
		m.fail("memo %d is not set", index)
	}
	m.push(value)
}

func (m *machine) persistent(id any) {
	args, ok := id.(tuple)
	if !ok {
		m.fail("persistent id is a %T, want a tuple", id)
		return
	}
	value, err := m.host.persistent(args)
	if err != nil {
		m.fail("%w", err)
	}
	m.push(value)
}

// call applies a name to arguments. Anything else that Python could call becomes opaque.
func (m *machine) call(callee, args any) {
	name, named := callee.(global)
	given, ok := args.(tuple)
	if !named || !ok {
		m.push(opaque(fmt.Sprintf("%T", callee)))
		return
	}
	value, err := m.host.call(name, given)
	if err != nil {
		m.fail("%w", err)
	}
	m.push(value)
}

// stackGlobal joins a module and a name. Both may come from the memo, so long ones could be joined without end.
func (m *machine) stackGlobal(parts []any) {
	const longest = 256
	module, okModule := parts[0].(string)
	name, okName := parts[1].(string)
	if !okModule || !okName || len(module) > longest || len(name) > longest {
		m.fail("a global has no sound name")
		return
	}
	for range (len(module) + len(name)) / 64 {
		m.spend()
	}
	m.push(global(module + "." + name))
}
