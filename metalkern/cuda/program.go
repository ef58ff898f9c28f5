package cuda

import (
	"fmt"
	"strconv"
	"strings"

	"segue/metalkern/driver"
)

// program is a PTX text, taken apart: the head with any of the entries is a text of its own.
type program struct {
	head    string // version, target, constants
	entries map[string]entry
}

type entry struct {
	signature
	text    string
	brought int // bytes of threadgroup memory that each launch brings
}

// mostBrought is what one threadgroup may have on GPUs with such kernels.
const mostBrought = 227 << 10

// signature is what a kernel takes: its constants, then so many buffers. A launch with other ones is an error, because the
// driver copies as much as the kernel declares, whatever it is given.
type signature struct{ constantBytes, buffers int }

// parsePTX takes a text apart. An entry is from a line that begins with .visible .entry to one that is a closing brace.
func parsePTX(text string) (program, error) {
	p := program{entries: map[string]entry{}}
	var head strings.Builder
	memory := "" // what launches bring, which has one name for all kernels
	for text != "" {
		line, _, _ := strings.Cut(text, "\n")
		if !strings.HasPrefix(line, ".visible .entry ") {
			if strings.HasPrefix(line, ".extern .shared ") {
				memory = strings.TrimSuffix(line[strings.LastIndex(line, " ")+1:], "[];")
			}
			head.WriteString(line + "\n")
			text = text[min(len(line)+1, len(text)):]
			continue
		}
		end := strings.Index(text, "\n}")
		if end < 0 {
			return p, fmt.Errorf("%q has no end", line)
		}
		e := entry{text: text[:end+2] + "\n"}
		text = strings.TrimPrefix(text[end+2:], "\n")
		before, rest, _ := strings.Cut(e.text, "(")
		list, _, closed := strings.Cut(rest, ")")
		name := strings.TrimSpace(strings.TrimPrefix(before, ".visible .entry "))
		var err error
		if e.signature, err = parameters(list); err != nil || !closed {
			return p, fmt.Errorf("kernel %s: parameters: %w", name, err)
		}
		if e.brought, err = brought(e.text); err != nil {
			return p, fmt.Errorf("kernel %s: %w", name, err)
		}
		p.entries[name] = e
	}
	p.head = head.String()
	for name, e := range p.entries {
		if e.brought == 0 && memory != "" && strings.Contains(e.text, memory) {
			return p, fmt.Errorf("kernel %s: no word of how much threadgroup memory %s is", name, memory)
		}
	}
	return p, nil
}

// brought reads TG_BROUGHT of mtl_cuda_warpgroup.h; 0 if there is none.
func brought(text string) (bytes int, err error) {
	_, after, ok := strings.Cut(text, "\t// memory ")
	if !ok {
		return 0, nil
	}
	number, _, _ := strings.Cut(after, "\n")
	if bytes, err = strconv.Atoi(number); err != nil || bytes < 1 || bytes > mostBrought {
		return 0, fmt.Errorf("got %q bytes of threadgroup memory, want at most %d", number, mostBrought)
	}
	return bytes, nil
}

// parameters reads ".param .align 4 .b8 name[40], .param .u64 name, …".
func parameters(list string) (s signature, err error) {
	for i, p := range strings.Split(list, ",") {
		words := strings.Fields(p)
		if len(words) < 3 || words[0] != ".param" {
			return s, fmt.Errorf("got the parameter %q", strings.TrimSpace(p))
		}
		switch _, size, array := strings.Cut(strings.TrimSuffix(words[len(words)-1], "]"), "["); {
		case i == 0 && array:
			if s.constantBytes, err = strconv.Atoi(size); err != nil || s.constantBytes < 4 || s.constantBytes > driver.MaxConstants || s.constantBytes%4 != 0 {
				return s, fmt.Errorf("got %q bytes of constants, want whole words of four, at most %d bytes", size, driver.MaxConstants)
			}
		case i > 0 && words[1] == ".u64":
			s.buffers++
		default:
			return s, fmt.Errorf("got the parameter %q, want constants first and then pointers", strings.TrimSpace(p))
		}
	}
	if s.buffers > maxBindings {
		return s, fmt.Errorf("got %d buffers, want at most %d", s.buffers, maxBindings)
	}
	return s, nil
}
