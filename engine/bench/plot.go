package bench

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
)

// plot is a hand-made SVG: a plane with axes, whose colours are the page's. Coordinates given to its methods are values.
type plot struct {
	b          strings.Builder
	x, y       axis
	w, h, left float64
}

// axis maps values from low to high; log axes need positive ones.
type axis struct {
	low, high float64
	log       bool
	label     string
}

const (
	plotWidth, plotHeight        = 760.0, 340.0
	marginTop, marginRight       = 16.0, 20.0
	marginBottom, marginLeft     = 46.0, 70.0
	colours                      = 8 // classes c0 … c7 of the page
	barHeight, barGap, labelRoom = 20.0, 10.0, 230.0
)

func newPlot(x, y axis) *plot {
	p := &plot{x: x, y: y, w: plotWidth - marginLeft - marginRight, h: plotHeight - marginTop - marginBottom, left: marginLeft}
	p.frame()
	return p
}

// at is where a value lies between 0 and 1.
func (a axis) at(v float64) float64 {
	if a.log {
		return (math.Log(v) - math.Log(a.low)) / (math.Log(a.high) - math.Log(a.low))
	}
	return (v - a.low) / (a.high - a.low)
}

func (p *plot) px(x float64) float64 { return p.left + p.w*p.x.at(x) }
func (p *plot) py(y float64) float64 { return marginTop + p.h*(1-p.y.at(y)) }

// ticks are round values on the axis: powers of ten, or multiples of 1, 2 or 5.
func (a axis) ticks() (list []float64) {
	if a.log {
		for e := math.Floor(math.Log10(a.low)); e <= math.Ceil(math.Log10(a.high)); e++ {
			if v := math.Pow(10, e); v >= a.low*0.999 && v <= a.high*1.001 {
				list = append(list, v)
			}
		}
		return list
	}
	span := a.high - a.low
	step := math.Pow(10, math.Floor(math.Log10(span/4)))
	for _, factor := range []float64{5, 2} {
		if span/(step*factor) >= 4 {
			step *= factor
			break
		}
	}
	for i := math.Ceil(a.low / step); i*step <= a.high+step/1e6; i++ {
		list = append(list, i*step)
	}
	return list
}

// frame draws grid, ticks and labels.
func (p *plot) frame() {
	for _, v := range p.x.ticks() {
		p.line("grid", p.px(v), marginTop, p.px(v), marginTop+p.h)
		p.text("tick", "middle", p.px(v), marginTop+p.h+16, fmt.Sprintf("%.4g", v))
	}
	for _, v := range p.y.ticks() {
		p.line("grid", p.left, p.py(v), p.left+p.w, p.py(v))
		p.text("tick", "end", p.left-6, p.py(v)+4, fmt.Sprintf("%.4g", v))
	}
	p.text("label", "middle", p.left+p.w/2, marginTop+p.h+38, p.x.label)
	fmt.Fprintf(&p.b, `<text class="label" text-anchor="middle" transform="translate(12 %.1f) rotate(-90)">%s</text>`,
		marginTop+p.h/2, html.EscapeString(p.y.label))
}

func (p *plot) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(&p.b, `<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, class, x1, y1, x2, y2)
}

func (p *plot) text(class, anchor string, x, y float64, s string) {
	fmt.Fprintf(&p.b, `<text class="%s" text-anchor="%s" x="%.1f" y="%.1f">%s</text>`, class, anchor, x, y, html.EscapeString(s))
}

// curve draws a line through points; title shows under the pointer.
func (p *plot) curve(class string, points []Point, title string) {
	if len(points) == 0 {
		return
	}
	fmt.Fprintf(&p.b, `<polyline class="%s" points="`, class)
	for _, at := range points {
		fmt.Fprintf(&p.b, "%.1f,%.1f ", p.px(float64(at.Context)), p.py(at.MS))
	}
	fmt.Fprintf(&p.b, `"><title>%s</title></polyline>`, html.EscapeString(title))
}

func (p *plot) dot(class string, x, y float64, title string) {
	fmt.Fprintf(&p.b, `<circle class="%s" cx="%.1f" cy="%.1f" r="5"><title>%s</title></circle>`, class, p.px(x), p.py(y), html.EscapeString(title))
}

func (p *plot) bar(class string, x, y, w, h float64, title string) {
	fmt.Fprintf(&p.b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%s</title></rect>`, class, x, y, max(w, 0), h, html.EscapeString(title))
}

// svg closes the drawing.
func (p *plot) svg(height float64, title string) template.HTML {
	return template.HTML(fmt.Sprintf(`<svg viewBox="0 0 %g %g" role="img" aria-label="%s">%s</svg>`, // all texts above are escaped
		plotWidth, height, html.EscapeString(title), p.b.String()))
}

func colour(i int) string { return fmt.Sprintf("c%d", i%colours) }
