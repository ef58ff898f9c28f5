package translate

import (
	"errors"
	"fmt"
	"strings"
)

// MaxConstants is the largest struct of constants, in bytes: driver.MaxConstants, which this package may not import.
const MaxConstants = 256

// attributes are the parameters that tell a thread where it is, each with whether it may be a vector.
var attributes = map[string]bool{
	"thread_position_in_grid":        true,
	"thread_position_in_threadgroup": true,
	"threadgroup_position_in_grid":   true,
	"threadgroups_per_grid":          true,
	"threads_per_threadgroup":        true,
	"thread_index_in_threadgroup":    false,
	"thread_index_in_simdgroup":      false,
	"simdgroup_index_in_threadgroup": false,
	"simdgroups_per_threadgroup":     false,
}

// rules reports every breach of the dialect, not only the first.
func (f *File) rules() error {
	var wrong []error
	seen := map[string]bool{}
	for _, k := range f.Kernels {
		if seen[k.Name] {
			wrong = append(wrong, fmt.Errorf("translate: %s: kernel %s is declared twice", k.Place, k.Name))
		}
		seen[k.Name] = true
		wrong = append(wrong, f.kernelRules(k)...)
	}
	return errors.Join(append(wrong, f.bodyRules()...)...)
}

func (f *File) kernelRules(k Kernel) (wrong []error) {
	complain := func(p Param, format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("translate: %s: kernel %s: parameter %s: %s", p.line, k.Name, p.Name, fmt.Sprintf(format, args...)))
	}
	var used [31]bool
	width := 0
	for _, p := range k.Params {
		if p.Attribute != "buffer" {
			if w := f.positionRules(p, complain); w != 0 && width != 0 && w != width {
				complain(p, "positions of one kernel must all have the same width, as Metal wants it")
			} else if w != 0 {
				width = w
			}
			continue
		}
		if used[p.Index] {
			complain(p, "buffer %d is bound twice", p.Index)
		}
		used[p.Index] = true
		f.bufferRules(p, complain)
	}
	for i := range k.Buffers() {
		if !used[i] {
			wrong = append(wrong, fmt.Errorf("translate: %s: kernel %s: buffers: got a gap at %d, want them numbered from 0 without one", k.Place, k.Name, i))
			break
		}
	}
	return wrong
}

// positionRules returns the width of an attribute that may be a vector, else 0.
func (f *File) positionRules(p Param, complain func(Param, string, ...any)) int {
	vector, known := attributes[p.Attribute]
	widths := map[string]int{"uint": 1, "uint2": 2, "uint3": 3}
	switch {
	case !known:
		complain(p, "attribute %q is not one that all the compilers know", p.Attribute)
	case p.Pointer || p.Reference || p.Space != "":
		complain(p, "got a pointer or an address space, want a plain uint")
	case widths[p.Type] == 0 || !vector && p.Type != "uint":
		complain(p, "%s: got the type %s, want uint%s", p.Attribute, p.Type, map[bool]string{true: ", uint2 or uint3"}[vector])
	case vector:
		return widths[p.Type]
	}
	return 0
}

func (f *File) bufferRules(p Param, complain func(Param, string, ...any)) {
	switch {
	case p.Index == 0 && (p.Space != "constant" || !p.Reference):
		complain(p, "buffer 0: want the constants, as in: constant XArgs& a [[buffer(0)]]")
	case p.Index == 0:
		s, ok := f.Struct(p.Type)
		if !ok {
			complain(p, "%s is not a struct of this file with plain fields", p.Type)
		} else if s.Size > MaxConstants {
			complain(p, "%s has %d bytes, want at most %d", p.Type, s.Size, MaxConstants)
		}
	case p.Space != "device" || !p.Pointer || p.Reference:
		complain(p, "buffer %d: want a device pointer, const where it is only read", p.Index)
	}
}

// bodyRules finds what compilers other than Apple's would let through.
func (f *File) bodyRules() (wrong []error) {
	types := map[string]bool{}
	for _, s := range f.Structs {
		types[s.Name] = true
	}
	for i, t := range f.tokens {
		for _, rule := range []func(int, map[string]bool) string{f.castRule, f.spaceRule, f.threadgroupRule} {
			if text := rule(i, types); text != "" {
				wrong = append(wrong, fmt.Errorf("translate: %s: %s", t.place(), text))
			}
		}
	}
	return wrong
}

// castRule: a pointer cast in C's style can change the address space.
func (f *File) castRule(i int, _ map[string]bool) string {
	if f.tokens[i].text != "*" || i+2 >= len(f.tokens) || f.tokens[i+1].text != ")" {
		return ""
	}
	open := f.declaration(i)
	next := f.tokens[i+2]
	if open < 0 || f.tokens[open].text != "(" || open >= i-1 || next.kind != word && next.text != "(" && next.text != "&" {
		return ""
	}
	return fmt.Sprintf("cast of a pointer in C's style can lose its address space; use reinterpret_cast<%s>", join(f.tokens[open+1:i+1]))
}

// spaceRule: every pointer and reference to a known type spells its address space.
func (f *File) spaceRule(i int, types map[string]bool) string {
	if t := f.tokens[i].text; t != "*" && t != "&" || i == 0 {
		return ""
	}
	start := f.declaration(i) + 1
	known := false
	for _, t := range f.tokens[start:i] {
		if spaces[t.text] {
			return ""
		}
		_, _, scalar := sizeOf(t.text)
		known = known || scalar || types[t.text] || t.text == "void" || strings.HasPrefix(t.text, "atomic_")
	}
	if last := f.tokens[i-1]; !known || last.kind != word {
		return ""
	}
	return fmt.Sprintf("%s without an address space (device, constant, threadgroup or thread)", join(f.tokens[start:i+1]))
}

// threadgroupRule: threadgroup memory is declared by TG_ARRAY, which every compiler can give its own meaning.
func (f *File) threadgroupRule(i int, _ map[string]bool) string {
	if f.tokens[i].text != "threadgroup" || i+3 >= len(f.tokens) || f.tokens[i+1].kind != word || f.tokens[i+2].kind != word {
		return ""
	}
	if after := f.tokens[i+3].text; after != "[" && after != ";" && after != "=" {
		return ""
	}
	return fmt.Sprintf("threadgroup memory: want TG_ARRAY(%s, %s, count)", f.tokens[i+1].text, f.tokens[i+2].text)
}

var spaces = map[string]bool{"device": true, "constant": true, "threadgroup": true, "thread": true}

// declaration goes back from the * or & at i over words and other *, and returns the index of what stands before them.
func (f *File) declaration(i int) int {
	for i--; i >= 0 && (f.tokens[i].kind == word || f.tokens[i].text == "*"); i-- {
	}
	return i
}

func join(tokens []token) string {
	var words []string
	for _, t := range tokens {
		words = append(words, t.text)
	}
	return strings.NewReplacer(" *", "*", " &", "&").Replace(strings.Join(words, " "))
}
