"""What every command needs: flags, errors of one line, whole files, Ctrl-C."""
