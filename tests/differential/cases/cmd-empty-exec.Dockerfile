FROM diff-base
CMD []
