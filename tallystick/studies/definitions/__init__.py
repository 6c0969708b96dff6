"""The studies themselves: `tallystick.studies.MODULES` says where each is, and `common` has what they share."""
