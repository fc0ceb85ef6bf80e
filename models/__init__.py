"""Networks that translate between radar and optical images, and all that trains, judges and applies them.

`networks` holds one file each, made of `blocks`; `data` gives them samples; `train`, `evaluate` and `translate` are the commands;
`runs` is what they leave on disk. What a network must do stands in `translator`, what goes in and out of it in `task`.
"""
