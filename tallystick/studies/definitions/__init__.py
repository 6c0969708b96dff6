"""The studies: `tallystick.studies.MODULES` lists the module of each; `common` has the parts that they share."""
