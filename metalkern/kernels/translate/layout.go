package translate

import "strings"

// scalars are the sizes of the dialect's scalar types; their alignment is the same.
var scalars = map[string]int{
	"char": 1, "uchar": 1, "bool": 1,
	"short": 2, "ushort": 2, "half": 2, "bfloat": 2,
	"int": 4, "uint": 4, "float": 4,
	"long": 8, "ulong": 8,
}

// sizeOf returns size and alignment of a scalar or a vector. A vector of three takes the place of four.
func sizeOf(typ string) (size, align int, ok bool) {
	if n, ok := scalars[typ]; ok {
		return n, n, true
	}
	base := strings.TrimRight(typ, "234")
	if n, known := scalars[base]; known && len(typ) == len(base)+1 {
		n *= map[byte]int{'2': 2, '3': 4, '4': 4}[typ[len(base)]]
		return n, n, true
	}
	return 0, 0, false
}

func (s *Struct) layOut() {
	at, widest := 0, 1
	for i := range s.Fields {
		f := &s.Fields[i]
		size, align, _ := sizeOf(f.Type)
		at = roundUp(at, align)
		f.Offset, f.Size = at, size*f.Count
		at += f.Size
		widest = max(widest, align)
	}
	s.Size, s.Align = roundUp(at, widest), widest
}

func roundUp(n, multiple int) int { return (n + multiple - 1) / multiple * multiple }
