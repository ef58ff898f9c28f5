package bench

import "time"

// Stages of rows.
const (
	StageLoad    = "load"    // checkpoint to device, packing included; bytes: what the device holds then
	StageText    = "text"    // description to the decoder's view of it
	StageEncode  = "encode"  // prompt audio to codes
	StagePrefill = "prefill" // prompt codes to cache; bytes: the weights, once
	StageStep    = "step"    // one column of all rows at a context
	StageLinears = "linears" // the layers' linears of a step, without anything else
	StageCodec   = "codec"   // codes to audio
	StageTotal   = "total"   // a whole request with the model loaded
)

// Report is everything that was measured.
type Report struct {
	Version        string         `json:"version"`
	Machine        Machine        `json:"machine"`
	Settings       Settings       `json:"settings"`
	Rows           []Row          `json:"rows"`
	Variants       []Variant      `json:"variants"`
	Recommendation Recommendation `json:"recommendation"`

	takes []namedTake // audio of the first thread count, the reference's first
}

// Machine is what was measured on.
type Machine struct {
	Device      string    `json:"device"`
	Name        string    `json:"name"`
	Detail      string    `json:"detail"`
	Cores       int       `json:"cores"`
	MemoryBytes int64     `json:"memoryBytes,omitempty"`
	OS          string    `json:"os"`
	Arch        string    `json:"arch"`
	Go          string    `json:"go"`
	Time        time.Time `json:"time"`
}

// Settings are what all variants share.
type Settings struct {
	Model         string  `json:"model,omitempty"`
	Shape         string  `json:"shape,omitempty"`
	Clip          string  `json:"clip,omitempty"`
	PromptSeconds float64 `json:"promptSeconds"`
	Seconds       float64 `json:"seconds"`
	Text          string  `json:"text"`
	Seed          int64   `json:"seed"`
	Repeats       int     `json:"repeats"`
}

func (o *Options) settings() Settings {
	return Settings{Model: o.Model, Shape: o.Shape, Clip: o.Clip, PromptSeconds: o.PromptSeconds, Seconds: o.Seconds,
		Text: o.Text, Seed: o.Seed, Repeats: o.Repeats}
}

// Setting is one point of the matrix. Guidance and Variations are 0 in rows that do not depend on them.
type Setting struct {
	Quantization string  `json:"quantization"`
	KVCache      string  `json:"kvCache"`
	Threads      int     `json:"threads"`
	Guidance     float64 `json:"guidance"`
	Variations   int     `json:"variations"`
}

// Row is one measurement.
type Row struct {
	Model  string `json:"model,omitempty"`
	Shape  string `json:"shape,omitempty"`
	Device string `json:"device"`
	Setting
	Rows     int     `json:"rows"`    // sequences computed side by side; 0 where that means nothing
	Context  int     `json:"context"` // columns that the last one of the stage sees, itself included; 0 likewise
	Stage    string  `json:"stage"`
	MS       float64 `json:"ms"`
	Bytes    int64   `json:"bytes"`    // read from memory; 0: not counted, because arithmetic sets the speed
	ReadGBps float64 `json:"readGBps"` // of a plain read in the same minute
	Share    float64 `json:"share"`    // bytes ÷ time ÷ that speed

	ColumnsPerSecond float64 `json:"columnsPerSecond,omitempty"` // prefill: columns of one row
	Realtime         float64 `json:"realtime,omitempty"`         // seconds of audio per second
}

// Variant sums up one point of the matrix.
type Variant struct {
	Setting
	Rows        int      `json:"rows"`
	LoadMS      float64  `json:"loadMs"`
	PrefillRate float64  `json:"prefillColumnsPerSecond"`
	Steps       []Row    `json:"-"` // at each context, in order
	Request     Request  `json:"request"`
	Along       []Point  `json:"along"` // the request's steps along the context
	PeakBytes   int64    `json:"peakBytes"`
	DeviceBytes int64    `json:"deviceBytes"`
	Quality     *Quality `json:"quality,omitempty"`
	Files       []string `json:"files,omitempty"` // exported takes
}

// Request is where the time of a whole request went, the model being loaded.
type Request struct {
	EncodeMS  float64 `json:"encodeMs"`
	TextMS    float64 `json:"textMs"`
	PrefillMS float64 `json:"prefillMs"`
	DecodeMS  float64 `json:"decodeMs"`
	CodecMS   float64 `json:"codecMs"`
	TotalMS   float64 `json:"totalMs"`
	Realtime  float64 `json:"realtime"` // seconds of new audio, all variations, per second
}

// Point is the time of a step at a place of the context.
type Point struct {
	Context int     `json:"context"`
	MS      float64 `json:"ms"`
}

// Quality says how far a variant is from the same model in float32.
type Quality struct {
	Codebooks []Divergence `json:"codebooks"`
	Mean      Divergence   `json:"mean"`
	MelDB     float64      `json:"melDb"`     // log-mel distance of the take from the reference's
	SeedMelDB float64      `json:"seedMelDb"` // of the reference's take with the next seed, to compare with
}

// Divergence of distributions under teacher forcing, after guidance.
type Divergence struct {
	Top1 float64 `json:"top1"` // share of codes whose likeliest value is the reference's
	KL   float64 `json:"kl"`   // nats per code
}
