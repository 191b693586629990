//! Whether a launcher has started this process beside others: what it left in the environment says it, so that a program
//! without MPI knows it, too, and one with MPI need not begin it to find out.

/// Where launchers say the number of a process and how many there are.
const VARIABLES: [(&str, &str); 3] = [
    // Open MPI.
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    // MPICH and what comes of it, and Slurm's PMI-2.
    ("PMI_RANK", "PMI_SIZE"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
];
/// Slurm says both in every job; that the processes of a step may meet, its plugin for `PMIx` says.
const SLURM: (&str, [&str; 2]) = ("SLURM_PROCID", ["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"]);
const SLURM_PMIX: &str = "PMIX_RANK";

/// What a launcher says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    rank: usize,
    size: usize,
}

impl Launch {
    /// Of this process.
    pub fn here() -> Self {
        Self::read(|name| std::env::var(name).ok())
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let number = |name: &str| variable(name)?.trim().parse::<usize>().ok();
        let said = VARIABLES.iter().find_map(|(rank, size)| Some((number(rank), number(size)?)));
        let by_slurm = || {
            number(SLURM_PMIX)?;
            Some((number(SLURM.0), SLURM.1.iter().find_map(|name| number(name))?))
        };
        let (rank, size) = said.or_else(by_slurm).unwrap_or((None, 1));
        Self { rank: rank.unwrap_or(0), size: size.max(1) }
    }

    /// How many processes there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether this process is the one that speaks for all.
    pub fn is_first(&self) -> bool {
        self.rank == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(variables: &[(&str, &str)]) -> (bool, usize) {
        let found = |name: &str| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        };
        let launch = Launch::read(found);
        (launch.is_first(), launch.size())
    }

    #[test]
    fn launchers_are_understood_and_a_job_of_one_step_is_none() {
        assert_eq!(launch(&[]), (true, 1));
        assert_eq!(launch(&[("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "3")]), (false, 4));
        assert_eq!(launch(&[("OMPI_COMM_WORLD_SIZE", "2")]), (true, 2));
        assert_eq!(launch(&[("PMI_SIZE", "2"), ("PMI_RANK", "1")]), (false, 2));
        assert_eq!(launch(&[("PMI_SIZE", "no number")]), (true, 1));
        let script = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "8")];
        assert_eq!(launch(&script), (true, 1), "a script in a job of eight is one process");
        let step = [("SLURM_PROCID", "5"), ("SLURM_NTASKS", "8"), ("PMIX_RANK", "5")];
        assert_eq!(launch(&step), (false, 8));
    }
}
