// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Kind, Role} from "./Types.sol";

/// @notice One fine as ordered by Collegium or Refutations.
/// @param ctx context the fault belongs to; with party and kind the once-only key
/// @param amount taken from the lock, capped by what is left of it
/// @param challenger zero: the challenger share is burned
/// @param evidenceHash non-zero: the challenger share is held `REWARD_HOLD` seconds for an earlier announcer
/// @param eligible bitmap of seats that share 20%, the accused excluded; zero: burned
struct FineOrder {
    uint64 studyId;
    address institution;
    Role role;
    Kind kind;
    uint128 amount;
    bytes32 ctx;
    address challenger;
    bytes32 evidenceHash;
    uint128 eligible;
}

/// @title IBonds
/// @notice Holds every token of the system: free stake, locks per study, fines, rewards. Money leaves by withdrawal only.
/// @dev Invariant: token balance == sum(free) + sum(unbonding) + sum(locks) + sum(credits) + sum(held) + sum(unclaimed shares) + sum(burnable).
interface IBonds {
    event BondsConnected(address indexed collegium, address indexed refutations);
    event StakeDeposited(address indexed institution, address indexed payer, uint256 amount);
    event StakeUnlocked(address indexed institution, uint256 amount, uint40 withdrawableAt);
    event StakeWithdrawn(address indexed institution, uint256 amount);
    event StakeLocked(uint64 indexed studyId, address indexed institution, Role role, uint256 amount, uint256 total);
    event LockReleasing(uint64 indexed studyId, address indexed institution, Role role, uint40 releasableAt);
    event LockReleased(uint64 indexed studyId, address indexed institution, Role role, uint256 amount);
    event Fined(uint64 indexed studyId, address indexed institution, bytes32 indexed key, Kind kind, Role role, bytes32 ctx, uint256 amount, uint256 burned, address challenger, uint256 challengerReward, uint256 sharePerClient, uint128 eligible);
    event RewardHeld(bytes32 indexed key, address indexed challenger, uint256 amount, bytes32 evidenceHash, uint40 claimableAt);
    event RewardRedirected(bytes32 indexed key, address indexed challenger, address indexed announcer, uint256 amount);
    event RewardClaimed(bytes32 indexed key, address indexed challenger, uint256 amount);
    event ShareClaimed(bytes32 indexed key, address indexed institution, uint256 amount);
    event CreditWithdrawn(address indexed account, uint256 amount);
    event FinesBurned(uint64 indexed studyId, uint256 amount);

    error BondsOnlyAuthorized(address caller);
    error BondsAlreadyConnected();
    error BondsOnlyDeployer(address caller);
    error BondsInsufficientStake(address institution, uint256 free, uint256 needed);
    error BondsNothingToWithdraw(address account);
    error BondsStillUnbonding(address institution, uint40 withdrawableAt);
    error BondsLockActive(uint64 studyId, address institution, Role role);
    error BondsLockNotReleasable(uint64 studyId, address institution, uint40 releasableAt);
    error BondsAlreadyFined(bytes32 key);
    error BondsNotEligible(bytes32 key, address institution);
    error BondsRewardNotHeld(bytes32 key);
    error BondsRewardNotClaimable(bytes32 key, uint40 claimableAt);
    error BondsTopUpTooLarge(uint256 amount, uint256 room);
    error BondsLockUnknown(uint64 studyId, address institution, Role role);
    error BondsAmountTooLarge(uint256 amount, uint256 maximum);
    error BondsStudyOutOfRange(uint64 studyId);
    error BondsPermitRefused(address payer, uint256 allowance, uint256 needed);
    error BondsZeroAmount();
    error BondsZeroAddress();

    /// @notice Names the two contracts that may order, once and for ever. Only the deployer.
    function connect(address collegium, address refutations) external;
    /// @notice Adds to the free stake of msg.sender; the token must be approved.
    function deposit(uint256 amount) external;
    /// @notice Adds to the free stake of `institution`, paid by msg.sender.
    function depositFor(address institution, uint256 amount) external;
    /// @notice Like depositFor, with the payer's ERC-2612 permit for this contract instead of an approval sent before. The payer is
    ///         msg.sender: a permit seen in a pending transaction pays for nobody else. A permit that somebody carried before does no harm.
    function depositWithPermit(address institution, uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;
    /// @notice Starts unbonding of free stake; a second call adds to it and restarts the clock.
    function unlock(uint256 amount) external;
    /// @notice Pays unbonded stake to msg.sender.
    function withdraw() external;
    /// @notice Moves free stake of msg.sender into its member lock of the study, up to the maxFine it signed last. Not while the lock is in release.
    function topUp(uint64 studyId, uint256 amount) external;
    /// @notice Moves a releasable lock back to the free stake of the institution. Anyone may call.
    function release(uint64 studyId, address institution, Role role) external;

    /// @notice Brings the lock up to `amount` from free stake and cancels its release; what it already holds stays and counts. Only Collegium.
    function lock(uint64 studyId, address institution, Role role, uint128 amount) external;
    /// @notice From `releasableAt` on anyone may release the lock; until then fines still reach it. Never shortens a release. Only Collegium.
    function beginRelease(uint64 studyId, address institution, Role role, uint40 releasableAt) external;
    /// @notice Takes a fine from a lock, also from one in release, and splits it. Only Collegium and Refutations.
    /// @return paid what was taken (<= order.amount). Reverts BondsAlreadyFined for a used key.
    function fine(FineOrder calldata order) external returns (uint256 paid);

    /// @notice Pays a held reward to the challenger after the hold. Anyone may call.
    function claimReward(bytes32 key) external;
    /// @notice Moves a held reward to whoever announced the same evidence earlier. Only Refutations.
    function redirectReward(bytes32 key, bytes32 evidenceHash, address announcer) external;
    /// @notice Pays msg.sender (institution) its part of the clients' share of a fine, once.
    function claimShare(bytes32 key) external;
    /// @notice Pays msg.sender what announced challenges earned it.
    function withdrawCredit() external;
    /// @notice Burns what fines of this study left to burn. Anyone may call.
    function burnFines(uint64 studyId) external;

    function token() external view returns (address);
    function stakeOf(address institution) external view returns (uint256 free, uint256 unbonding, uint40 withdrawableAt);
    function lockOf(uint64 studyId, address institution, Role role) external view returns (uint128 amount, uint40 releasableAt);
    function creditOf(address account) external view returns (uint256);
    /// @notice The reward that waits for an earlier announcer; zero when none. The fine was at `claimableAt - REWARD_HOLD`.
    function heldRewardOf(bytes32 key) external view returns (address challenger, uint256 amount, uint40 claimableAt);
    /// @notice The part that each seat in `unclaimed` can still claim of a fine.
    function sharesOf(bytes32 key) external view returns (uint64 studyId, uint256 share, uint128 unclaimed);
    function isFined(bytes32 key) external view returns (bool);
    /// @notice Grows with every change of a lock of this study (lock, topUp, beginRelease, release, fine): Collegium reads it at
    ///         open, one call instead of one per member, to learn whether who can pay a fine may have changed.
    function revisionOf(uint64 studyId) external view returns (uint32);
    /// @notice What fines of this study left to burn and nobody burned yet.
    function burnable(uint64 studyId) external view returns (uint256);
    function UNBONDING_PERIOD() external view returns (uint40);
    function REWARD_HOLD() external view returns (uint40);
}
