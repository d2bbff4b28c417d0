// Program health says what GitOps tools would say of objects: kstatus by its library, as Flux and Helm wait with it, and Argo CD by scripts in Lua, run by the
// interpreter and with the libraries that Argo CD gives them.
//
// A list of objects comes on standard input, as `kubectl get -o json` prints it; the one argument is the folder with a script for each kind, KIND.lua.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// What Argo CD gives a script.
const patience = time.Second

type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

type answer struct {
	Kind    string  `json:"kind"`
	Name    string  `json:"name"`
	Kstatus verdict `json:"kstatus"`
	Argo    verdict `json:"argo"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return errors.New("usage: health FOLDER < LIST")
	}
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	var list unstructured.UnstructuredList
	if err := list.UnmarshalJSON(input); err != nil {
		return fmt.Errorf("the list: %w", err)
	}
	answers := make([]answer, 0, len(list.Items))
	for i := range list.Items {
		told, err := judge(&list.Items[i], os.Args[1])
		if err != nil {
			return fmt.Errorf("%s %s: %w", list.Items[i].GetKind(), list.Items[i].GetName(), err)
		}
		answers = append(answers, told)
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

func judge(object *unstructured.Unstructured, folder string) (answer, error) {
	told := answer{Kind: object.GetKind(), Name: object.GetName()}
	computed, err := status.Compute(object)
	if err != nil {
		return told, err
	}
	told.Kstatus = verdict{computed.Status.String(), computed.Message}
	// Argo CD asks no script about what is being deleted.
	if object.GetDeletionTimestamp() != nil {
		told.Argo = verdict{"Progressing", "Pending deletion"}
		return told, nil
	}
	script, err := os.ReadFile(filepath.Join(folder, object.GetKind()+".lua"))
	if err != nil {
		return told, err
	}
	told.Argo, err = ask(string(script), object.Object)
	return told, err
}

// Runs a script with the object as its global `obj`.
func ask(script string, object map[string]any) (verdict, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	// Argo CD has no string, math or io for the scripts of its users; what it has of os, a health check has no use for.
	for _, open := range []lua.LGFunction{lua.OpenPackage, lua.OpenBase, lua.OpenTable} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}); err != nil {
			return verdict{}, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		return verdict{}, err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return verdict{}, fmt.Errorf("the script returned no table, but %s", state.Get(-1).Type())
	}
	told := verdict{lua.LVAsString(table.RawGetString("status")), lua.LVAsString(table.RawGetString("message"))}
	switch told.Status {
	case "Healthy", "Progressing", "Suspended", "Degraded", "Missing", "Unknown":
		return told, nil
	}
	return told, fmt.Errorf("the script returned the status %q, which Argo CD does not know", told.Status)
}

// What JSON knows, as Lua knows it.
func value(state *lua.LState, of any) lua.LValue {
	switch of := of.(type) {
	case bool:
		return lua.LBool(of)
	case int64:
		return lua.LNumber(of)
	case float64:
		return lua.LNumber(of)
	case string:
		return lua.LString(of)
	case []any:
		table := state.NewTable()
		for _, item := range of {
			table.Append(value(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range of {
			table.RawSetString(key, value(state, item))
		}
		return table
	default:
		return lua.LNil
	}
}
