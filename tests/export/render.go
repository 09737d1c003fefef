package main

import (
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

type message struct{ Role, Content string }

type question struct {
	Template string
	Messages []message
}

func main() {
	var asked []question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		panic(err)
	}
	said := make([]*string, len(asked))
	for i, one := range asked {
		parsed, err := template.New("").Option("missingkey=zero").Parse(one.Template)
		if err != nil {
			panic(err.Error() + " in " + one.Template)
		}
		var text strings.Builder
		values := map[string]any{"Messages": one.Messages, "System": "", "Response": ""}
		if parsed.Execute(&text, values) == nil {
			whole := text.String()
			said[i] = &whole
		}
	}
	json.NewEncoder(os.Stdout).Encode(said)
}
