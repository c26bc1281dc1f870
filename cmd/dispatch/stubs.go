package main

import "github.com/spf13/cobra"

func newTail() *cobra.Command    { return &cobra.Command{Use: "tail"} }
func newDoctor() *cobra.Command  { return &cobra.Command{Use: "doctor"} }
func newMigrate() *cobra.Command { return &cobra.Command{Use: "migrate"} }
