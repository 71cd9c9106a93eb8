"""What finished trials tell: comparisons, importance of knobs. Plain values in, plain values out."""
