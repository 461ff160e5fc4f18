"""For `dg`: processors from YAML files. Each module imports only from those below it.

component   ReliableImportsComponent, the processors of one `defs.yaml`
scaffolder  what `dg scaffold defs` writes for it
"""
