package translate

import (
	"fmt"
	"strconv"
	"strings"
)

// Parse reads a .metal file. Kernels that macros make are only seen after a preprocessor.
func Parse(text string) (*File, error) {
	tokens, err := scan(text)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens, file: &File{text: text, tokens: tokens}}
	for p.at < len(tokens) && err == nil {
		switch {
		case p.is(0, "struct") && p.is(2, "{"):
			err = p.structure()
		case p.is(0, "kernel"):
			err = p.kernel()
		default:
			p.at++
		}
	}
	if err != nil {
		return nil, err
	}
	return p.file, p.file.rules()
}

type parser struct {
	tokens []token
	at     int
	file   *File
}

// is says whether the token n places ahead is text.
func (p *parser) is(n int, text string) bool {
	return p.at+n < len(p.tokens) && p.tokens[p.at+n].text == text
}

func (p *parser) errorf(format string, args ...any) error {
	place := "end of file"
	if p.at < len(p.tokens) {
		place = p.tokens[p.at].place()
	}
	return fmt.Errorf("translate: %s: %s", place, fmt.Sprintf(format, args...))
}

// until returns the index of the token that closes the bracket at p.at.
func (p *parser) until() (int, error) {
	depth := 0
	for i := p.at; i < len(p.tokens); i++ {
		switch p.tokens[i].text {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			depth--
		}
		if depth == 0 {
			return i, nil
		}
	}
	return 0, p.errorf("%q is never closed", p.tokens[p.at].text)
}

// structure keeps structs of plain fields; others, of use only inside kernels, are passed over.
func (p *parser) structure() error {
	name := p.tokens[p.at+1]
	p.at += 2
	end, err := p.until()
	if err != nil {
		return err
	}
	s := Struct{Name: name.text, Place: name.place()}
	plain := true
	for at := p.at + 1; at < end; {
		semicolon := at
		for semicolon < end && p.tokens[semicolon].text != ";" {
			semicolon++
		}
		plain = plain && s.add(p.tokens[at:semicolon])
		at = semicolon + 1
	}
	p.at = end + 1
	if plain && len(s.Fields) > 0 {
		s.layOut()
		p.file.Structs = append(p.file.Structs, s)
	}
	return nil
}

// add takes "type name" or "type name[count]", with further names after commas.
func (s *Struct) add(tokens []token) bool {
	if len(tokens) < 2 || tokens[0].kind != word {
		return false
	}
	typ := tokens[0].text
	if _, _, ok := sizeOf(typ); !ok {
		return false
	}
	for tokens = tokens[1:]; len(tokens) > 0; {
		f := Field{Name: tokens[0].text, Type: typ, Count: 1}
		if tokens[0].kind != word {
			return false
		}
		tokens = tokens[1:]
		if len(tokens) >= 3 && tokens[0].text == "[" && tokens[2].text == "]" {
			n, err := strconv.Atoi(tokens[1].text)
			if err != nil || n < 1 {
				return false
			}
			f.Count, tokens = n, tokens[3:]
		}
		s.Fields = append(s.Fields, f)
		if len(tokens) == 1 || len(tokens) > 0 && tokens[0].text != "," {
			return false
		}
		if len(tokens) > 0 {
			tokens = tokens[1:]
		}
	}
	return true
}

func (p *parser) kernel() error {
	if !p.is(1, "void") || !p.is(3, "(") {
		return p.errorf("got %q after kernel, want: kernel void name(", p.near(3))
	}
	k := Kernel{Name: p.tokens[p.at+2].text, Place: p.tokens[p.at].place(), nameToken: p.at + 2}
	p.at += 3
	end, err := p.until()
	if err != nil {
		return err
	}
	for start := p.at + 1; start < end; {
		stop := p.comma(start, end)
		param, err := parseParam(p.tokens[start:stop])
		if err != nil {
			return fmt.Errorf("%w (kernel %s)", err, k.Name)
		}
		k.Params = append(k.Params, param)
		if param.Attribute == "buffer" && param.Reference {
			k.Constants = param.Type
		}
		start = stop + 1
	}
	p.at = end + 1
	p.file.Kernels = append(p.file.Kernels, k)
	return nil
}

func (p *parser) near(n int) string {
	var words []string
	for i := p.at + 1; i < len(p.tokens) && i <= p.at+n; i++ {
		words = append(words, p.tokens[i].text)
	}
	return strings.Join(words, " ")
}

// comma finds the end of the parameter that begins at start.
func (p *parser) comma(start, end int) int {
	depth := 0
	for i := start; i < end; i++ {
		switch p.tokens[i].text {
		case "(", "[", "{", "<":
			depth++
		case ")", "]", "}", ">":
			depth--
		case ",":
			if depth == 0 {
				return i
			}
		}
	}
	return end
}

// parseParam takes "const device half* name [[buffer(2)]]" or "uint name [[thread_index_in_simdgroup]]".
func parseParam(tokens []token) (Param, error) {
	if len(tokens) == 0 {
		return Param{}, fmt.Errorf("translate: empty parameter")
	}
	p := Param{line: tokens[0].place()}
	declaration, err := p.attribute(tokens)
	if err != nil {
		return p, err
	}
	var rest []string
	for _, t := range declaration {
		switch t.text {
		case "const":
			p.Const = true
		case "device", "constant", "threadgroup", "thread":
			p.Space = t.text
		case "*":
			p.Pointer = true
		case "&":
			p.Reference = true
		default:
			rest = append(rest, t.text)
		}
	}
	if len(rest) != 2 {
		return p, fmt.Errorf("translate: %s: parameter: got %q, want a type of one word and a name", p.line, strings.Join(rest, " "))
	}
	p.Type, p.Name = rest[0], rest[1]
	return p, nil
}

// attribute takes the [[…]] from a parameter's end and returns what stands before it.
func (p *Param) attribute(tokens []token) ([]token, error) {
	for i := range tokens {
		if i+4 >= len(tokens) || tokens[i].text != "[" || tokens[i+1].text != "[" {
			continue
		}
		p.Attribute = tokens[i+2].text
		inside := tokens[i+3 : len(tokens)-2]
		if len(inside) == 3 && inside[0].text == "(" && inside[2].text == ")" {
			n, err := strconv.Atoi(inside[1].text)
			if err != nil || n < 0 || n > 30 {
				return nil, fmt.Errorf("translate: %s: index of %s: got %q, want 0 to 30", p.line, p.Attribute, inside[1].text)
			}
			p.Index = n
		} else if len(inside) != 0 {
			return nil, fmt.Errorf("translate: %s: attribute %s: want [[name]] or [[name(index)]]", p.line, p.Attribute)
		}
		return tokens[:i], nil
	}
	return nil, fmt.Errorf("translate: %s: parameter without an attribute, as in [[buffer(1)]]", p.line)
}
