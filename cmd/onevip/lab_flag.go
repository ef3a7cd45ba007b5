package main
import ("context";"github.com/spf13/pflag")
type labFlag struct{}
func (l *labFlag) register(*pflag.FlagSet) {}
func (l *labFlag) choose(*env,*settings) (string, error) {return "",nil}
func runInLab(context.Context,*env,string) error {return nil}
