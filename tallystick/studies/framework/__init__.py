"""The framework in which studies are declared, measured and shown.

experiment  declarations and their plans          cells      exactness at one place, over all seeds
schema      the data stored for a run             markdown   tables and pages
results     the results file                      figure     figures
trained     the run folders of trainings          study      a study: experiments, page, figure
measure     train and evaluate, or check          reproduce  measure missing results
"""
