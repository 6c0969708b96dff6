"""The machinery of studies.

experiment  what is declared, and its plan        cells      exactness at one place, over all seeds
schema      what a results file keeps of a run    markdown   tables and pages
results     the results file                      figure     pictures
trained     the run folders of trainings          study      a study: experiments, page, picture
measure     train and evaluate, or check          reproduce  make what is missing
"""
