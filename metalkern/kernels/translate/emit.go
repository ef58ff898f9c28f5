package translate

import (
	"fmt"
	"strings"
)

// What a target's header defines, besides the dialect's words. A header opens namespace mk and leaves it open, because
// the kernels' text must live inside it; MK_END closes it.
//
//	CPU    MK_KERNEL(name, writes, buffers, constants, call…)   an entry in the library's table; call is run once for each
//	       thread, with c->buffer[i], and the functions named as the attributes, which return uint or uint3
//	CUDA   the same functions; __global__ as nvcc and clang have it
//	Check  nothing more: the text alone is checked

// CPU is the file for a C++ compiler with mtl_cpu.h.
func (f *File) CPU() string {
	var b strings.Builder
	b.WriteString("#include \"mtl_cpu.h\"\n")
	b.WriteString(f.rewrite(map[string]string{"kernel": "static"}, true))
	for _, k := range f.Kernels {
		size := 0
		if s, ok := f.Struct(k.Constants); ok {
			size = s.Size
		}
		fmt.Fprintf(&b, "MK_KERNEL(%s, 0x%x, %d, %d, mk_body_%s(%s))\n", k.Name, k.Writes(), k.Buffers(), size, k.Name, strings.Join(k.arguments(func(p Param) string {
			if p.Reference {
				return fmt.Sprintf("*reinterpret_cast<const %s*>(c->buffer[%d])", p.Type, p.Index)
			}
			return fmt.Sprintf("reinterpret_cast<%s>(c->buffer[%d])", p.pointer(), p.Index)
		}), ", "))
	}
	b.WriteString("MK_END\n")
	return b.String()
}

// Check is the file for clang with mtl_check.h.
func (f *File) Check() string {
	return "#include \"mtl_check.h\"\n" + f.rewrite(nil, false)
}

// CUDA is the file for clang -x cuda or nvcc, with the header of that name. Entry points are called as the kernels. Their
// parameters are the struct of constants by value, then the pointers in order.
func (f *File) CUDA(header string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "#include %q\n", header)
	b.WriteString(f.rewrite(map[string]string{
		"kernel": "static __device__", "device": "", "threadgroup": "", "thread": "", "constant": "const",
	}, true))
	for _, k := range f.Kernels {
		parameters := make([]string, k.Buffers())
		arguments := k.arguments(func(p Param) string {
			typ := p.Type
			if p.Pointer {
				typ = p.pointer()
			}
			parameters[p.Index] = fmt.Sprintf("%s b%d", typ, p.Index)
			return fmt.Sprintf("b%d", p.Index)
		})
		fmt.Fprintf(&b, "extern \"C\" __global__ void %s(%s) { mk_body_%s(%s); }\n", k.Name, strings.Join(parameters, ", "), k.Name, strings.Join(arguments, ", "))
	}
	b.WriteString("MK_END\n")
	return b.String()
}

func (p Param) pointer() string {
	if p.Const {
		return "const " + p.Type + "*"
	}
	return p.Type + "*"
}

// arguments calls the body: buffers as the target gives them, positions by functions named as their attributes.
func (k Kernel) arguments(buffer func(Param) string) (all []string) {
	for _, p := range k.Params {
		value := p.Attribute + "()"
		switch {
		case p.Attribute == "buffer":
			value = buffer(p)
		case attributes[p.Attribute] && p.Type == "uint":
			value += ".x"
		case p.Type == "uint2":
			value = fmt.Sprintf("uint2(%s.x, %s.y)", value, value)
		}
		all = append(all, value)
	}
	return all
}

// rewrite blanks attributes, replaces words, and gives the kernels' bodies another name where an entry point has theirs.
func (f *File) rewrite(words map[string]string, rename bool) string {
	names := map[int]bool{}
	for _, k := range f.Kernels {
		names[k.nameToken] = rename
	}
	var b strings.Builder
	copied := 0
	replace := func(from, to int, with string) {
		b.WriteString(f.text[copied:from])
		b.WriteString(with)
		copied = to
	}
	for i := 0; i < len(f.tokens); i++ {
		t := f.tokens[i]
		if names[i] {
			replace(t.start, t.start, "mk_body_")
		} else if with, ok := words[t.text]; ok && t.kind == word {
			replace(t.start, t.end, with)
		} else if end := f.attributeEnd(i); end > 0 {
			last := f.tokens[end]
			replace(t.start, last.end, strings.Repeat("\n", strings.Count(f.text[t.start:last.end], "\n")))
			i = end
		}
	}
	b.WriteString(f.text[copied:])
	return b.String()
}

// attributeEnd returns the index of the last token of a [[…]] that begins at i, or 0.
func (f *File) attributeEnd(i int) int {
	if f.tokens[i].text != "[" || i+1 >= len(f.tokens) || f.tokens[i+1].text != "[" || f.tokens[i+1].start != f.tokens[i].end {
		return 0
	}
	for j := i + 2; j+1 < len(f.tokens); j++ {
		if f.tokens[j].text == "]" && f.tokens[j+1].text == "]" {
			return j + 1
		}
	}
	return 0
}
