package cuda

import "fmt"

// symbol is a function of the driver.
type symbol int

const (
	cuInit symbol = iota
	cuDriverGetVersion
	cuGetErrorName
	cuGetErrorString
	cuDeviceGetCount
	cuDeviceGetName
	cuDeviceGetAttribute
	cuDeviceTotalMem
	cuDevicePrimaryCtxRetain
	cuDevicePrimaryCtxRelease
	cuCtxSetCurrent
	cuModuleLoadDataEx
	cuLinkCreate
	cuLinkAddData
	cuLinkComplete
	cuLinkDestroy
	cuModuleUnload
	cuModuleGetFunction
	cuFuncGetAttribute
	cuFuncSetAttribute
	cuMemAlloc
	cuMemFree
	cuMemHostAlloc
	cuMemFreeHost
	cuMemsetD8Async
	cuMemcpyHtoDAsync
	cuMemcpyDtoHAsync
	cuStreamCreate
	cuStreamDestroy
	cuStreamSynchronize
	cuEventCreate
	cuEventDestroy
	cuEventRecord
	cuEventSynchronize
	cuLaunchKernelEx
	cuGraphCreate
	cuGraphAddKernelNode
	cuGraphAddEmptyNode
	cuGraphInstantiateWithFlags
	cuGraphExecKernelNodeSetParams
	cuGraphLaunch
	cuGraphDestroy
	cuGraphExecDestroy
	cuGraphAddDependencies
	symbolCount
)

// symbolNames are as the driver exports them: a header of NVIDIA's maps plain names to these versions, whose arguments have
// the sizes that this package uses.
var symbolNames = [symbolCount]string{
	cuInit:                         "cuInit",
	cuDriverGetVersion:             "cuDriverGetVersion",
	cuGetErrorName:                 "cuGetErrorName",
	cuGetErrorString:               "cuGetErrorString",
	cuDeviceGetCount:               "cuDeviceGetCount",
	cuDeviceGetName:                "cuDeviceGetName",
	cuDeviceGetAttribute:           "cuDeviceGetAttribute",
	cuDeviceTotalMem:               "cuDeviceTotalMem_v2",
	cuDevicePrimaryCtxRetain:       "cuDevicePrimaryCtxRetain",
	cuDevicePrimaryCtxRelease:      "cuDevicePrimaryCtxRelease_v2",
	cuCtxSetCurrent:                "cuCtxSetCurrent",
	cuModuleLoadDataEx:             "cuModuleLoadDataEx",
	cuLinkCreate:                   "cuLinkCreate_v2",
	cuLinkAddData:                  "cuLinkAddData_v2",
	cuLinkComplete:                 "cuLinkComplete",
	cuLinkDestroy:                  "cuLinkDestroy",
	cuModuleUnload:                 "cuModuleUnload",
	cuModuleGetFunction:            "cuModuleGetFunction",
	cuFuncGetAttribute:             "cuFuncGetAttribute",
	cuFuncSetAttribute:             "cuFuncSetAttribute",
	cuMemAlloc:                     "cuMemAlloc_v2",
	cuMemFree:                      "cuMemFree_v2",
	cuMemHostAlloc:                 "cuMemHostAlloc",
	cuMemFreeHost:                  "cuMemFreeHost",
	cuMemsetD8Async:                "cuMemsetD8Async",
	cuMemcpyHtoDAsync:              "cuMemcpyHtoDAsync_v2",
	cuMemcpyDtoHAsync:              "cuMemcpyDtoHAsync_v2",
	cuStreamCreate:                 "cuStreamCreate",
	cuStreamDestroy:                "cuStreamDestroy_v2",
	cuStreamSynchronize:            "cuStreamSynchronize",
	cuEventCreate:                  "cuEventCreate",
	cuEventDestroy:                 "cuEventDestroy_v2",
	cuEventRecord:                  "cuEventRecord",
	cuEventSynchronize:             "cuEventSynchronize",
	cuLaunchKernelEx:               "cuLaunchKernelEx",
	cuGraphCreate:                  "cuGraphCreate",
	cuGraphAddKernelNode:           "cuGraphAddKernelNode",
	cuGraphAddEmptyNode:            "cuGraphAddEmptyNode",
	cuGraphInstantiateWithFlags:    "cuGraphInstantiateWithFlags",
	cuGraphExecKernelNodeSetParams: "cuGraphExecKernelNodeSetParams",
	cuGraphLaunch:                  "cuGraphLaunch",
	cuGraphDestroy:                 "cuGraphDestroy",
	cuGraphExecDestroy:             "cuGraphExecDestroy",
	cuGraphAddDependencies:         "cuGraphAddDependencies_v2", // with a kind for each edge; only for overlap
}

// resolve finds the addresses of all of them but the optional one, which is 0 where the driver lacks it.
func resolve(find func(name string) (uintptr, error)) (addresses [symbolCount]uintptr, err error) {
	for s, name := range symbolNames {
		addresses[s], err = find(name)
		if symbol(s) == cuGraphAddDependencies {
			continue
		}
		if err != nil || addresses[s] == 0 {
			return addresses, fmt.Errorf("NVIDIA's driver has no %s, which came with CUDA 12.0 at the latest: a newer driver is needed (525 or later)", name)
		}
	}
	return addresses, nil
}
