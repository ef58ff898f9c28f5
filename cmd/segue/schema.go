package main

import (
	"context"

	"segue/rpc"
)

func runSchema(_ context.Context, env *environment, args []string) error {
	set := newFlags("schema", "schema", "Prints the OpenRPC document of the worker: methods, parameters with ranges and defaults, results, errors.\n")
	if err := parseOnly(set, args); err != nil {
		return err
	}
	_, err := env.stdout.Write(rpc.Schema())
	return err
}
