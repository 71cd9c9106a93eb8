"""Raw data as people see it: what a cell, a column, a table means. Plain texts in, typed values and schemas out."""
