package engine

// Job is one request for music: what to continue, with which model, how. The zero value is not useful; begin with
// NewJob. Names and documentation in the tags are the protocol's and the command line's: one list for all three.
type Job struct {
	Path         string `json:"path,omitempty" doc:"audio file to continue (continue only): absolute, relative to the worker's folder, ~, file:// or Macintosh HD:/…"`
	ModelOptions `json:",squash"`
	Text         string `json:"text,omitempty" doc:"description of the music; empty: none, and guidance is off"`

	MelodyPath string `json:"melodyPath,omitempty" doc:"audio file whose melody to follow, from its start; melody models only"`

	Seed       int64 `json:"seed,omitempty" doc:"seed of the first variation, 0 to 2^53-1; -1 or absent: drawn; always echoed" min:"-1" max:"9007199254740991"`
	Variations int   `json:"variations,omitempty" doc:"takes to make at once, 1 to 16; take i has seed+i, and 0 follows the largest seed" min:"1" max:"16"`

	PromptSeconds float64 `json:"promptSeconds,omitempty" doc:"seconds of the file that the model hears; a shorter file is used whole" above:"0"`
	PromptFrom    string  `json:"promptFrom,omitempty" doc:"end: hear the end of the file and continue there; start: hear its start and continue after promptSeconds" enum:"end,start"`
	Seconds       float64 `json:"seconds,omitempty" doc:"seconds of new audio, exact to the sample" above:"0"`

	SamplingOptions `json:",squash"`
	Greedy          bool `json:"greedy,omitempty" doc:"always take the likeliest code; the seed has no effect; absent: no, whatever the model says"`

	OutputDir   string  `json:"outputDir,omitempty" doc:"folder for the new files; absent: beside the input (continue), or where segue was started (generate)"`
	OutputPath  string  `json:"outputPath,omitempty" doc:"the new file's own path, which ends in .wav or .flac; with variations, -2, -3 … go before the extension"`
	Format      string  `json:"format,omitempty" doc:"file format: wav or flac; absent: from outputPath's extension, else wav" enum:"wav,flac"`
	Bits        Bits    `json:"bits,omitempty" doc:"sample format: 16, 24 or 32f; absent: the source's where it is one of these, 16 for one of 8 bits, 32f for 64-bit floats, else 24" enum:"16,24,32f"`
	SampleRate  Rate    `json:"sampleRate,omitempty" doc:"output rate in Hz, 8000 to 384000, or source; for generate the source is the model's rate"`
	Channels    int     `json:"channels,omitempty" doc:"output channels; 0: as the source" min:"0" max:"64"`
	Include     string  `json:"include,omitempty" doc:"continuation: the new part alone; full: the original, untouched, then the new part" enum:"continuation,full"`
	CrossfadeMS float64 `json:"crossfadeMs,omitempty" doc:"equal-power fade at the seam, in milliseconds, up to 1000" min:"0" max:"1000"`
	Level       string  `json:"level,omitempty" doc:"match: bring the new part to the prompt's loudness; none: as the model made it" enum:"match,none"`
	Overwrite   bool    `json:"overwrite,omitempty" doc:"replace an existing output file; absent: a free name is found (outputDir) or it is an error (outputPath)"`
}

// Rate is a sample rate in Hz; 0 stands for the source's, written "source" on the wire.
type Rate int

// Bits is a sample format: "16", "24" or "32f"; "" for the source's. On the wire 16 and 24 may be numbers.
type Bits string

// ModelOptions name a model and say in which precisions it is held. Each combination is a model of its own.
type ModelOptions struct {
	Model        string `json:"model,omitempty" doc:"model: a folder, a name in the models folder, or a Hugging Face name; absent: the bundled one"`
	Quantization string `json:"quantization,omitempty" doc:"weights of the decoder: as stored (none), f32, f16, or 8 or 4 bits in groups of 32 (q8, q4); auto: q8; older systems' names are taken, too: q8_decoder_linears, q4_decoder_linears, q4_decoder_linears_emb" enum:"auto,none,f32,f16,q8,q4,q8_decoder_linears,q4_decoder_linears,q4_decoder_linears_emb"`
	Embeddings   string `json:"embeddings,omitempty" doc:"weights of the decoder's embeddings: as stored (none), f32, f16, q8 or q4; auto: as stored" enum:"auto,none,f32,f16,q8,q4"`
	TextEncoder  string `json:"textEncoder,omitempty" doc:"weights of the text encoder: as stored (none), f32, f16, q8 or q4; auto: as stored" enum:"auto,none,f32,f16,q8,q4"`
	Codec        string `json:"codec,omitempty" doc:"weights of the codec's LSTM: as stored (none), f32, f16, q8 or q4; auto: f16" enum:"auto,none,f32,f16,q8,q4"`
	KVCache      string `json:"kvCache,omitempty" doc:"keys and values of past columns: f32, f16 or q8 (int8); auto: q8" enum:"auto,f32,f16,q8,int8"`
}

// NewJob returns a Job with the defaults, but for those that are the model's to say: SamplingOptions.
func NewJob() Job {
	return Job{
		Seed: -1, Variations: 1,
		PromptSeconds: 6, PromptFrom: "end", Seconds: 10,
		Include: "continuation", CrossfadeMS: 10, Level: "match",
	}
}

// takeSeed is the seed of take i. 0 follows the largest, so that each can be asked for again.
func (j *Job) takeSeed(i int) int64 { return (j.Seed + int64(i)) % (1 << 53) }

// Result is what a finished Job answers. Every path is absolute and names a whole, synced file.
type Result struct {
	Outputs      []Output `json:"outputs"`
	Prompt       *Prompt  `json:"prompt,omitempty"` // absent for generate
	Model        string   `json:"model"`
	Quantization string   `json:"quantization"`
	Device       string   `json:"device"`
	Sampling     Sampling `json:"sampling"` // that the job named, or else the model
	Timing       Timing   `json:"timing"`
	Warnings     []string `json:"warnings,omitempty"` // what is odd about the input, which was used all the same
}

// Output is one file made. Its seed alone gives the same bytes again.
type Output struct {
	Path        string   `json:"path"`
	Format      string   `json:"format"`
	Bits        string   `json:"bits"`
	SampleRate  int      `json:"sampleRate"`
	Channels    int      `json:"channels"`
	Frames      int64    `json:"frames"`
	Seconds     float64  `json:"seconds"`
	Seed        int64    `json:"seed"`
	SeamSeconds float64  `json:"seamSeconds"` // where the new part begins in the file
	PeakDB      *float64 `json:"peakDb"`      // of the new part, dBFS; null: digital silence
	Loudness    *float64 `json:"loudness"`    // of the new part, LUFS (BS.1770); null: too short or silent
	Silent      bool     `json:"silent"`      // the new part stays below -60 dBFS
}

// Prompt tells what the model heard.
type Prompt struct {
	Seconds float64 `json:"seconds"`
	Cached  bool    `json:"cached"` // its prefill was found from an earlier request
}

// Timing says where the time went, in milliseconds of wall clock.
type Timing struct {
	LoadMS    float64 `json:"loadMs"`
	EncodeMS  float64 `json:"encodeMs"`
	TextMS    float64 `json:"textMs"`
	PrefillMS float64 `json:"prefillMs"`
	DecodeMS  float64 `json:"decodeMs"`
	CodecMS   float64 `json:"codecMs"`
	WriteMS   float64 `json:"writeMs"`
	TotalMS   float64 `json:"totalMs"`
	Steps     int     `json:"steps"`
	StepMS    float64 `json:"stepMs"`   // mean
	Realtime  float64 `json:"realtime"` // seconds of new audio, all variations, per second of wall clock
}

// Stage names a part of a Job for its progress.
type Stage string

const (
	StageQueued  Stage = "queued"
	StageLoad    Stage = "load"
	StageEncode  Stage = "encode"
	StagePrefill Stage = "prefill"
	StageDecode  Stage = "decode"
	StageCodec   Stage = "codec"
	StageWrite   Stage = "write"

	StageDownload Stage = "download" // of Pull alone
)

// Progress reports how far a Job is: Fraction is the share of the new audio made, 0 to 1, never falling; Seconds is that
// share in seconds of audio; ETASeconds is what is likely left, 0 when unknown. A download counts bytes instead.
type Progress struct {
	Stage      Stage
	Fraction   float64
	Seconds    float64
	ETASeconds float64
	Message    string

	Bytes, TotalBytes int64 // there, and in all; 0 but in a download
	BytesPerSecond    float64
}

// ModelInfo describes a model that can be used, resident or not.
type ModelInfo struct {
	Name         string    `json:"name"`
	Path         string    `json:"path,omitempty"`                                        // absent for the bundled model
	Source       string    `json:"source" enum:"bundled,path,models,huggingface,catalog"` // catalog: not on this machine
	Layout       string    `json:"layout,omitempty" enum:"huggingface,audiocraft"`        // absent where there is a problem
	Description  string    `json:"description,omitempty"`
	Bytes        int64     `json:"bytes"`                 // on disk
	PackedBytes  int64     `json:"packedBytes,omitempty"` // of its packed weights on disk, which fine-tunes of one base partly share
	Resident     bool      `json:"resident"`
	MemoryBytes  int64     `json:"memoryBytes,omitempty"` // held on the device while resident
	Quantization string    `json:"quantization,omitempty"`
	KVCache      string    `json:"kvCache,omitempty"`
	Channels     int       `json:"channels,omitempty"`
	SampleRate   int       `json:"sampleRate,omitempty"`
	MaxSeconds   float64   `json:"maxSeconds,omitempty"` // prompt and new audio together
	Parameters   int64     `json:"parameters,omitempty"` // numbers that its weights are, all parts together
	Sampling     *Sampling `json:"sampling,omitempty"`   // of a job that names none; absent where there is a problem, or no file yet
	Problem      string    `json:"problem,omitempty"`    // why it cannot be used
}

// Status is what the worker is doing and holding.
type Status struct {
	Device        string      `json:"device"`
	DeviceDetail  string      `json:"deviceDetail"`
	DeviceChoice  string      `json:"deviceChoice"` // why it is this device, and why others were passed over
	MemoryBytes   int64       `json:"memoryBytes"`  // resident set of the process
	DeviceBytes   int64       `json:"deviceBytes"`  // held by models and caches
	PackedFolder  string      `json:"packedFolder,omitempty"`
	PackedBytes   int64       `json:"packedBytes"` // of packed weights on disk, when last looked at
	Models        []ModelInfo `json:"models"`      // resident
	CachedPrompts int         `json:"cachedPrompts"`
	CachedTexts   int         `json:"cachedTexts"`
}

// AudioInfo is what a probe of an audio file finds.
type AudioInfo struct {
	Path       string   `json:"path"`
	Format     string   `json:"format"`   // wav, flac, aiff
	Encoding   string   `json:"encoding"` // for people: "24-bit integer", "32-bit float"
	SampleRate int      `json:"sampleRate"`
	Channels   int      `json:"channels"`
	Frames     int64    `json:"frames"`
	Seconds    float64  `json:"seconds"`
	PeakDB     *float64 `json:"peakDb"`
	Loudness   *float64 `json:"loudness"`
	Tempo      *float64 `json:"tempo"` // beats per minute; null: no clear beat
	Warnings   []string `json:"warnings,omitempty"`
}
