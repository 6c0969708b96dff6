"""Speed, measured for `tallystick bench`: each row beside the machine's limit and, where there are any, its peers."""
