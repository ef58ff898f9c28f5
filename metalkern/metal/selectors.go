//go:build (darwin || linux) && (amd64 || arm64)

package metal

import (
	"fmt"
	"strings"
)

// selector is a message that this package sends. Its encoding is what Objective-C's runtime says of a method's types:
// the result, the receiver (@), the selector (:), then the arguments. Of these only the shape matters to a call: see shape.
type selector uint8

const (
	objectAlloc selector = iota
	objectInit
	objectRetain
	objectRelease
	objectResponds
	stringWithCString
	stringUTF8
	errorDescription
	errorCode
	arrayCount
	arrayObject
	deviceName
	deviceSupportsFamily
	deviceUnified
	deviceWorkingSet
	deviceMaxBuffer
	deviceNewQueue
	deviceNewBuffer
	deviceWrapMemory
	deviceNewLibrary
	deviceNewPipeline
	optionsLanguage
	optionsMathMode
	optionsFunctions
	optionsFastMath
	libraryNewFunction
	pipelineMaxThreads
	pipelineWidth
	queueCommandBuffer
	commandEncoder
	commandCommit
	commandWait
	commandStatus
	commandError
	commandStart
	commandEnd
	encoderPipeline
	encoderBuffer
	encoderBytes
	encoderDispatch
	encoderBarrier
	encoderEnd
	bufferContents
	selectorCount
)

// message is a row of the table: whose method it is, by the name that Apple's headers give the class or protocol.
type message struct {
	owner, name, encoding string
	optional              bool // newer than the oldest system that we support, or gone from the newest
}

var messages = [selectorCount]message{
	objectAlloc:          {"+NSObject", "alloc", "@@:", false},
	objectInit:           {"NSObject", "init", "@@:", false},
	objectRetain:         {"NSObject", "retain", "@@:", false},
	objectRelease:        {"NSObject", "release", "v@:", false},
	objectResponds:       {"NSObject", "respondsToSelector:", "B@::", false},
	stringWithCString:    {"+NSString", "stringWithCString:encoding:", "@@:*Q", false},
	stringUTF8:           {"NSString", "UTF8String", "*@:", false},
	errorDescription:     {"NSError", "localizedDescription", "@@:", false},
	errorCode:            {"NSError", "code", "q@:", false},
	arrayCount:           {"NSArray", "count", "Q@:", false},
	arrayObject:          {"NSArray", "objectAtIndex:", "@@:Q", false},
	deviceName:           {"MTLDevice", "name", "@@:", false},
	deviceSupportsFamily: {"MTLDevice", "supportsFamily:", "B@:q", false},
	deviceUnified:        {"MTLDevice", "hasUnifiedMemory", "B@:", false},
	deviceWorkingSet:     {"MTLDevice", "recommendedMaxWorkingSetSize", "Q@:", false},
	deviceMaxBuffer:      {"MTLDevice", "maxBufferLength", "Q@:", false},
	deviceNewQueue:       {"MTLDevice", "newCommandQueue", "@@:", false},
	deviceNewBuffer:      {"MTLDevice", "newBufferWithLength:options:", "@@:QQ", false},
	deviceWrapMemory:     {"MTLDevice", "newBufferWithBytesNoCopy:length:options:deallocator:", "@@:^vQQ@?", false},
	deviceNewLibrary:     {"MTLDevice", "newLibraryWithSource:options:error:", "@@:@@^@", false},
	deviceNewPipeline:    {"MTLDevice", "newComputePipelineStateWithFunction:error:", "@@:@^@", false},
	optionsLanguage:      {"MTLCompileOptions", "setLanguageVersion:", "v@:Q", false},
	optionsMathMode:      {"MTLCompileOptions", "setMathMode:", "v@:q", true},                   // macOS 15
	optionsFunctions:     {"MTLCompileOptions", "setMathFloatingPointFunctions:", "v@:q", true}, // macOS 15
	optionsFastMath:      {"MTLCompileOptions", "setFastMathEnabled:", "v@:B", true},            // before
	libraryNewFunction:   {"MTLLibrary", "newFunctionWithName:", "@@:@", false},
	pipelineMaxThreads:   {"MTLComputePipelineState", "maxTotalThreadsPerThreadgroup", "Q@:", false},
	pipelineWidth:        {"MTLComputePipelineState", "threadExecutionWidth", "Q@:", false},
	queueCommandBuffer:   {"MTLCommandQueue", "commandBufferWithUnretainedReferences", "@@:", false},
	commandEncoder:       {"MTLCommandBuffer", "computeCommandEncoderWithDispatchType:", "@@:Q", false},
	commandCommit:        {"MTLCommandBuffer", "commit", "v@:", false},
	commandWait:          {"MTLCommandBuffer", "waitUntilCompleted", "v@:", false},
	commandStatus:        {"MTLCommandBuffer", "status", "Q@:", false},
	commandError:         {"MTLCommandBuffer", "error", "@@:", false},
	commandStart:         {"MTLCommandBuffer", "GPUStartTime", "d@:", false},
	commandEnd:           {"MTLCommandBuffer", "GPUEndTime", "d@:", false},
	encoderPipeline:      {"MTLComputeCommandEncoder", "setComputePipelineState:", "v@:@", false},
	encoderBuffer:        {"MTLComputeCommandEncoder", "setBuffer:offset:atIndex:", "v@:@QQ", false},
	encoderBytes:         {"MTLComputeCommandEncoder", "setBytes:length:atIndex:", "v@:^vQQ", false},
	encoderDispatch:      {"MTLComputeCommandEncoder", "dispatchThreadgroups:threadsPerThreadgroup:", "v@:{MTLSize=QQQ}{MTLSize=QQQ}", false},
	encoderBarrier:       {"MTLComputeCommandEncoder", "memoryBarrierWithScope:", "v@:Q", false},
	encoderEnd:           {"MTLCommandEncoder", "endEncoding", "v@:", false},
	bufferContents:       {"MTLBuffer", "contents", "^v@:", false},
}

// shape reduces an encoding to what a call must know: w for a word of 8 bytes, pointers and objects among them, b for a
// truth value, d for a double, {…} for a struct of these; v for nothing. Offsets, qualifiers and names of structs go.
func shape(encoding string) (string, error) {
	var out strings.Builder
	for i := 0; i < len(encoding); i++ {
		switch c := encoding[i]; {
		case c >= '0' && c <= '9', strings.IndexByte("rnNoORVA", c) >= 0:
		case strings.IndexByte("@#:*qQ", c) >= 0:
			out.WriteByte('w')
			if c == '@' && strings.HasPrefix(encoding[i+1:], "?") {
				i++ // a block
			} else if c == '@' && strings.HasPrefix(encoding[i+1:], `"`) {
				i += 2 + strings.IndexByte(encoding[i+2:], '"')
			}
		case c == '^':
			out.WriteByte('w')
			i += pointee(encoding[i+1:])
		case c == 'B' || c == 'c':
			out.WriteByte('b')
		case c == 'd' || c == 'v':
			out.WriteByte(c)
		case c == '{':
			end := strings.IndexByte(encoding[i:], '}')
			_, fields, ok := strings.Cut(encoding[i:max(i, i+end)], "=")
			inside, err := shape(fields)
			if !ok || err != nil {
				return "", fmt.Errorf("metal: type encoding %q: struct without plain fields", encoding)
			}
			out.WriteString("{" + inside + "}")
			i += end
		default:
			return "", fmt.Errorf("metal: type encoding %q: %q is not understood", encoding, c)
		}
	}
	return out.String(), nil
}

// pointee is the length of the type that a ^ points to.
func pointee(rest string) int {
	n := 0
	for n < len(rest) && (rest[n] == '^' || rest[n] == 'r') {
		n++
	}
	if n < len(rest) && rest[n] == '{' {
		return n + strings.IndexByte(rest[n:], '}') + 1
	}
	return n + 1
}
