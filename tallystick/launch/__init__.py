"""Many runs side by side, in processes of their own."""
