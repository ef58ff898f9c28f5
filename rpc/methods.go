package rpc

// The table of methods. A row says everything about one method: its name, where it runs, what it takes and gives, and
// what it does. Dispatch, capabilities and openrpc.json all read this table.

import (
	"context"
	_ "embed"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"

	"segue/engine"
)

//go:generate go test -run TestDocument -count 1 -update .

//go:embed openrpc.json
var openRPC []byte

// Schema returns the OpenRPC document of the protocol, as rpc.discover does.
func Schema() []byte { return slices.Clone(openRPC) }

// lane is where a request runs.
type lane int

const (
	laneInline lane = iota // at once, on the reading goroutine: must not wait for anything
	laneAside              // beside the device: reads files
	laneLoad               // beside the device: makes models resident, which may take minutes
	lanePull               // beside the device: brings models, which may take hours
	laneDevice             // on the device, in order
)

type method struct {
	name, summary string
	lane          lane
	notification  bool   // the host expects no answer
	lenient       bool   // unknown parameters are ignored
	job           bool   // makes music: knows the planned parameters
	required      string // parameter that must be given
	without       string // parameter of the structure that this method does not take

	params, result reflect.Type
	fresh          func() any // pointer to params with their defaults
	call           func(s *server, c call, params any) (any, error)
}

// call is one request on its way through a method. Methods of the inline lane get no reports.
type call struct {
	ctx    context.Context
	report func(engine.Progress)
}

// define makes a row of functions with types.
func define[P, R any](m method, defaults P, do func(s *server, c call, params *P) (R, error)) method {
	m.params, m.result = reflect.TypeFor[P](), reflect.TypeFor[R]()
	m.fresh = func() any { params := defaults; return &params }
	m.call = func(s *server, c call, params any) (any, error) { return do(s, c, params.(*P)) }
	return m
}

func methods() []method {
	job := JobParams{Job: engine.NewJob()}
	return []method{
		define(method{name: "initialize", summary: "Tell who asks and hear what the worker can do. Optional; first and once.", lenient: true}, InitializeParams{}, (*server).initialize),
		define(method{name: "initialized", summary: "The host has read the answer to initialize.", notification: true, lenient: true}, None{}, (*server).nothing),
		define(method{name: "shutdown", summary: "Take no more requests; exit follows."}, None{}, (*server).shutdown),
		define(method{name: "exit", summary: "End the worker: with code 0 after shutdown, else 1.", notification: true}, None{}, (*server).exit),
		define(method{name: "ping", summary: "Answer at once."}, None{}, (*server).ping),
		define(method{name: "rpc.discover", summary: "This document."}, None{}, (*server).discover),
		define(method{name: "continue", summary: "Continue an audio file.", lane: laneDevice, job: true, required: "path"}, job, (*server).run),
		define(method{name: "generate", summary: "Make music from nothing but a text, or from nothing at all.", lane: laneDevice, job: true, without: "path"}, job, (*server).run),
		define(method{name: "audio/probe", summary: "Tell what an audio file holds.", lane: laneAside, required: "path"}, ProbeParams{}, (*server).probe),
		define(method{name: "models/list", summary: "List the models that can be used.", lane: laneAside}, None{}, (*server).listModels),
		define(method{name: "models/info", summary: "Describe a model.", lane: laneAside}, ModelParams{}, (*server).describeModel),
		define(method{name: "models/load", summary: "Make a model resident. One that is resident stays so. It does not wait for a running job.", lane: laneLoad}, LoadParams{}, (*server).loadModel),
		define(method{name: "models/pull", summary: "Bring a model from the hub to this machine. What is there is not fetched again.", lane: lanePull}, PullParams{}, (*server).pullModel),
		define(method{name: "models/prune", summary: "Remove packed weights that are of no use any more from segue's cache.", lane: laneAside}, engine.NewPruneOptions(), (*server).pruneModels),
		define(method{name: "models/unload", summary: "Free what a model holds. One that is not resident stays so; one in use goes after its job.", lane: laneAside}, ModelParams{}, (*server).unloadModel),
		define(method{name: "status", summary: "Tell what the worker is doing and holding."}, None{}, (*server).status),
		define(method{name: cancelMethod, summary: "Cancel a request that waits or works; it is answered with an error. Unknown ones are ignored.", notification: true}, CancelParams{}, (*server).cancel),
	}
}

func (s *server) initialize(_ call, p *InitializeParams) (InitializeResult, error) {
	if s.requests > 1 {
		return InitializeResult{}, engine.Errorf(requestInvalid, "", "initialize: got it after other requests, want it first and once, or not at all")
	}
	s.hostProcess.Store(p.ProcessID)
	s.options.Log.Info("host", "name", p.ClientInfo.Name, "version", p.ClientInfo.Version, "process", p.ProcessID)
	result := InitializeResult{
		ProtocolVersion: protocolVersion,
		ServerInfo:      ServerInfo{Name: "segue", Version: s.options.Version},
		Capabilities:    Capabilities{Batch: true, Cancel: true, Progress: true},
		Limits:          Limits{MessageBytes: maxMessage, BatchMessages: maxBatch, QueuedJobs: queueLimit},
	}
	for _, m := range s.table {
		result.Capabilities.Methods = append(result.Capabilities.Methods, m.name)
	}
	slices.Sort(result.Capabilities.Methods)
	return result, nil
}

func (s *server) nothing(call, *None) (Null, error) { return Null{}, nil }

func (s *server) shutdown(call, *None) (Null, error) {
	s.shut = true
	return Null{}, nil
}

func (s *server) exit(call, *None) (Null, error) {
	s.leaving = true
	return Null{}, nil
}

func (s *server) ping(call, *None) (PongResult, error) { return PongResult{Pong: true}, nil }

func (s *server) discover(call, *None) (json.RawMessage, error) { return openRPC, nil }

func (s *server) run(c call, p *JobParams) (engine.Result, error) {
	return s.engine.Run(c.ctx, p.Job, c.report)
}

func (s *server) probe(c call, p *ProbeParams) (engine.AudioInfo, error) {
	return s.engine.Probe(c.ctx, p.Path)
}

func (s *server) listModels(c call, _ *None) (ModelsResult, error) {
	models, err := s.engine.Models(c.ctx)
	return ModelsResult{Models: orEmpty(models)}, err
}

func (s *server) describeModel(c call, p *ModelParams) (engine.ModelInfo, error) {
	return s.engine.Model(c.ctx, p.Model)
}

func (s *server) loadModel(c call, p *LoadParams) (engine.ModelInfo, error) {
	return s.engine.Load(c.ctx, p.ModelOptions, c.report)
}

func (s *server) pullModel(c call, p *PullParams) (engine.ModelInfo, error) {
	return s.engine.Pull(c.ctx, p.Model, p.Revision, c.report)
}

func (s *server) pruneModels(c call, p *engine.PruneOptions) (engine.PruneResult, error) {
	return s.engine.Prune(c.ctx, *p)
}

func (s *server) unloadModel(c call, p *ModelParams) (UnloadResult, error) {
	name, err := s.engine.Unload(c.ctx, p.Model)
	return UnloadResult{Model: name}, err
}

func (s *server) status(call, *None) (StatusResult, error) {
	result := StatusResult{Status: s.engine.Status(), Version: s.options.Version, UptimeSeconds: time.Since(s.started).Seconds()}
	result.Models = orEmpty(result.Models)
	result.Running, result.Queue = s.jobs.report()
	return result, nil
}

func (s *server) cancel(_ call, p *CancelParams) (Null, error) {
	if p.Token != "" {
		s.jobs.cancelToken(p.Token)
	}
	if id, ok := s.stream.find(p.ID); ok {
		s.jobs.cancelID(id)
	}
	return Null{}, nil
}

// orEmpty makes a list of none an empty array, not null.
func orEmpty(models []engine.ModelInfo) []engine.ModelInfo {
	if models == nil {
		return []engine.ModelInfo{}
	}
	return models
}

// unknownMethod is the error for a method that is not in the table.
func unknownMethod(name string) error {
	if strings.HasPrefix(name, "rpc.") || strings.HasPrefix(name, "$/") {
		return engine.Errorf(methodUnknown, "", "%.60q: reserved", name)
	}
	return engine.Errorf(methodUnknown, "", "%.60q: unknown", name)
}
